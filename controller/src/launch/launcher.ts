import type { FinalReport, Reason } from '@cliscale/contract'

/** Where the terminal of a session's host listens. */
export interface Address {
  /** An IP literal, never a name. */
  readonly host: string
  readonly port: number
}

/** What keeps a launch from going on, or what was done to it, as far as the system it runs on tells. */
export interface LaunchFault {
  readonly reason: Reason
  /** One sentence for a person, with what the system says where that helps. It holds no secret. */
  readonly detail: string
}

/** How far a launch is. `ended`: nothing of it runs any more, and nothing of it will. */
export type LaunchProgress = 'scheduling' | 'pulling_image' | 'running' | 'ended'

/** One launch: a pod on Kubernetes, a pair of processes on one machine. */
export interface Launched {
  /**
   * The session that it was made for, or has been given. Undefined while it waits for one: such a launch is its
   * launcher's own, and nobody else removes it or counts it.
   */
  readonly sessionId: string | undefined
  /**
   * Names this launch and no other: a session that is launched again gets another one. Undefined while the system has
   * recorded the launch and made nothing of it yet (a Job without a pod). In the database it is `pod_uid`, and `podUid`
   * in the answer to a claim and in a local launch's record: an earlier release reads those during an upgrade.
   */
  readonly launchId: string | undefined
  readonly progress: LaunchProgress
  /** Absent while nothing listens there: not yet, or not again yet after the host was restarted. */
  readonly address?: Address
  /** Why it waits; it may mend itself. */
  readonly wait?: LaunchFault
  /** What the system did to it: its work was killed for its memory, its machine went away. It does not go on. */
  readonly fault?: LaunchFault
  /** How it ended by its own word: its host's last one, or the exit of a container that has no host. Only when `ended`. */
  readonly report?: FinalReport
}

/** A session's launch that is there: it has a name of its own. */
export type Identified = Launched & { readonly sessionId: string; readonly launchId: string }

/** What a launcher needs to know of a session; everything else the session's host asks for (docs/design.md). */
export interface LaunchRequest {
  readonly sessionId: string
  /** How long the command may run, for launchers that keep a backstop of their own. */
  readonly timeoutSeconds: number
  /** The name of one of the operator's images; the launcher's own when absent. */
  readonly image?: string
}

/** Names one of several launchers, as `sessions.backend` does; null is the default one. */
export type BackendName = string | null

export type Launchers = ReadonlyMap<BackendName, Launcher>

/** The system that runs launches did not answer, or asked to wait: nothing is known, and the same call may work later. */
export class LauncherUnavailable extends Error {
  override readonly name = 'LauncherUnavailable'
}

/** The system that runs launches refuses this one. The message is a sentence for a person, and holds no secret. */
export class LaunchRefused extends Error {
  override readonly name = 'LaunchRefused'
}

/**
 * Runs sessions somewhere. It knows nothing of the database: whoever calls it decides what should run, and it says what
 * does. Two implementations keep these promises: processes on one machine, Jobs on Kubernetes.
 *
 * A launch restarts its host for as long as the host does not end with exit code 0, which says "nothing is left to do or
 * to report"; work is never restarted. A launch whose host ended with 0 is cleared away and leaves `list`, at once or
 * after it was listed as `ended` for a while.
 */
export interface Launcher {
  /**
   * Makes the session run, once: a second call for a session that is launched changes nothing, also after a crash of the
   * caller and when calls meet. What has ended of an earlier launch is replaced. It resolves when the launch is recorded
   * where a restart finds it, not when it runs.
   *
   * @throws LauncherUnavailable when it is not known whether it was launched, or there is no room for it; try again later.
   * @throws LaunchRefused when the system does not let it be made.
   * @throws Error when the launch could not be recorded or started; nothing of it is left behind, and it may be tried again.
   */
  launch(request: LaunchRequest): Promise<void>
  /**
   * Every launch that is there, also one that is being restarted and one that was made by an earlier process. It may be
   * as old as one poll or watch event, but a launch that `launch` resolved for is in it until it has ended.
   *
   * @throws Error when the system can't be asked; nothing follows from that about what runs.
   */
  list(): Promise<readonly Launched[]>
  /**
   * Resolves when the next `list` is not older than this call. What is missing in a list may only not have been heard of:
   * call this before anything that cannot be taken back follows from that. Calls that meet share one.
   *
   * @throws LauncherUnavailable when the system can't be asked now.
   */
  refresh(): Promise<void>
  /**
   * Who holds a launch identity, or undefined when nobody that is launched now does, or its launch has no session yet. A
   * token proves its holder only while that launch is there.
   *
   * @throws LauncherUnavailable when that can't be told now.
   */
  identify(token: string): Promise<Identified | undefined>
  /**
   * Kills everything of the session, whatever it did to get away that the system can still see, and clears its files
   * away. With `launchId` only that launch; another launch of the same session stays. It resolves when that is done or
   * ordered for good (Kubernetes), also when there was nothing, and may be repeated and interrupted at any point. Files
   * that cannot be removed (immutable ones, mounts) are left after some attempts, and logged.
   *
   * @throws Error when something of it may still run; call again.
   */
  remove(sessionId: string, launchId?: string): Promise<void>
  /**
   * The session is to stop, and its host was told so. A host that hangs is no longer waited for as long as usual, and its
   * program is asked to end without it, where the launcher can do that. Returns at once, and may be repeated.
   */
  expectEnd(sessionId: string): void
  /** Calls `listener` soon after a launch came, went, moved or lost its host. Several changes may make one call. */
  onChange(listener: () => void): () => void
  /** Stops watching. What runs goes on running. */
  close(): Promise<void>
}
