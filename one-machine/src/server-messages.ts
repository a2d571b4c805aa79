/** What the supervisor and the server process say to each other over their IPC channel. */

export interface ServerStart {
  readonly type: 'start'
  /** `CLISCALE_*` settings, secrets among them: here rather than in the environment, where `ps` would show them. */
  readonly env: Readonly<Record<string, string>>
  readonly dataDir: string
  readonly runDir: string
  readonly internalSocket: string
}

/** End every session as `stopped`, then drain and exit 0. */
export interface ServerStop {
  readonly type: 'stop'
}

export type ToServer = ServerStart | ServerStop

export interface ServerListening {
  readonly type: 'listening'
  readonly port: number
}

/** It cannot start, and trying again would not help: one sentence for a person. */
export interface ServerFailed {
  readonly type: 'failed'
  readonly sentence: string
  readonly exitCode: number
}

/** Sent every second for as long as the event loop turns. */
export interface ServerAlive {
  readonly type: 'alive'
}

/** It has heard that it is to stop, and does. */
export interface ServerStopping {
  readonly type: 'stopping'
}

export type FromServer = ServerListening | ServerFailed | ServerAlive | ServerStopping
