/** What the gateway itself says in a terminal: statuses while it waits, and how a session ended. */
import {
  encodeBytes,
  encodeJson,
  type Exit,
  exitLine,
  factsOf,
  ServerType,
  type StatusMessage,
  TTY_PROTOCOL,
  V1_PROTOCOL,
} from '@cliscale/contract'
import type { SessionState } from '../store.ts'
import { binaryFrame } from './frames.ts'

export type Protocol = typeof V1_PROTOCOL | typeof TTY_PROTOCOL

/** The best protocol that a client offers and a session's kind speaks; undefined when there is none. */
export function chooseProtocol(offered: readonly string[], kind: SessionState['kind']): Protocol | undefined {
  if (kind === 'runner' && offered.includes(V1_PROTOCOL)) return V1_PROTOCOL
  return offered.length === 0 || offered.includes(TTY_PROTOCOL) ? TTY_PROTOCOL : undefined
}

/** What a terminal that is known did not do: answer, or take one more viewer. */
export type DialHint = 'silent' | 'full'

/** The status of a session for its viewers; with `dial` when its terminal is known and did not open. */
export function statusOf(state: SessionState, dial?: DialHint): StatusMessage {
  const stage = state.stages.findLast((entry) => entry.name === state.stage)
  const since = stage?.startedAt ?? state.startedAt?.toISOString() ?? state.createdAt.toISOString()
  return { status: state.status, stage: state.stage, since, reason: state.reason, hint: hintOf(state, dial) }
}

function hintOf(state: SessionState, dial: DialHint | undefined): string | null {
  if (state.reason !== null) return state.detail ?? factsOf(state.reason).hint
  if (dial === 'full') return 'The session has as many viewers as it takes. This one gets in when another leaves.'
  if (dial === 'silent') return 'The terminal does not answer yet; it is tried again.'
  return state.status === 'running' ? 'The command runs; its terminal is being looked for.' : null
}

/** How a session ended, from its row. */
export function exitOf(state: SessionState): Exit {
  const { startedAt, endedAt, reason } = state
  return {
    status: state.status,
    reason,
    detail: state.detail,
    hint: reason === null ? null : factsOf(reason).hint,
    exitCode: state.exitCode,
    signal: state.signal,
    durationMs: startedAt && endedAt ? endedAt.getTime() - startedAt.getTime() : null,
  }
}

const encoder = new TextEncoder()

/** A line of the gateway's own, dimmed, so that nobody takes it for the program's. It may quote what a session sent. */
export function noteLine(text: string): Uint8Array {
  return encoder.encode(`\x1b[2m[cliscale] ${text.replace(/\p{C}/gu, ' ')}\x1b[0m\r\n`)
}

/** A line of the gateway's own on a `tty` terminal, where the cursor may stand anywhere. */
export function lineFrame(text: string): Buffer {
  return binaryFrame(encodeBytes(ServerType.data, Buffer.concat([Buffer.from('\r\n'), noteLine(text)])))
}

/** A status as a frame: STATUS on `cliscale.v1`, a line on `tty`. */
export function statusFrame(protocol: Protocol, status: StatusMessage, now: number): Buffer {
  if (protocol === V1_PROTOCOL) return binaryFrame(encodeJson(ServerType.status, status))
  const seconds = Math.max(0, Math.round((now - Date.parse(status.since)) / 1000))
  const what = (status.stage ?? status.status).replaceAll('_', ' ')
  return lineFrame(`${what}, ${seconds} s${status.hint === null ? '' : `: ${status.hint}`}`)
}

/** How it ended as a frame: EXIT on `cliscale.v1`, a line on `tty`. */
export function exitFrame(protocol: Protocol, exit: Exit): Buffer {
  if (protocol === V1_PROTOCOL) return binaryFrame(encodeJson(ServerType.exit, exit))
  return binaryFrame(encodeBytes(ServerType.data, encoder.encode(exitLine(exit))))
}
