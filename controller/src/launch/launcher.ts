/** Where the terminal of a session's host listens. */
export interface Address {
  /** An IP literal, never a name. */
  readonly host: string
  readonly port: number
}

/** One launch of a session: a pod on Kubernetes, a pair of processes on one machine. */
export interface Launched {
  readonly sessionId: string
  /** Names this launch and no other: a session that is launched again gets another one. */
  readonly podUid: string
  /** Absent while nothing listens there: not yet, or not again yet after the host was restarted. */
  readonly address?: Address
  /** Whether the system killed a process of the session's work for its memory, as far as the system tells. */
  readonly oomKilled: boolean
}

/**
 * Runs sessions somewhere. It knows nothing of the database: whoever calls it decides what should run, and it says what
 * does. Two implementations keep these promises: processes on one machine, Jobs on Kubernetes.
 *
 * A launch restarts its host for as long as the host does not end with exit code 0, which says "nothing is left to do or
 * to report"; work is never restarted. A launch whose host ended with 0 is cleared away and leaves `list`.
 */
export interface Launcher {
  /**
   * Makes the session run, once: a second call for a session that is launched changes nothing, also after a crash of the
   * caller and when calls meet. It resolves when the launch is recorded where a restart finds it, not when it runs.
   *
   * @throws Error when the launch could not be recorded or started; nothing of it is left behind, and it may be tried again.
   */
  launch(sessionId: string): Promise<void>
  /**
   * Every launch that is there, also one that is being restarted and one that was made by an earlier process. It may be
   * as old as one poll or watch event, but a launch that `launch` resolved for is in it until it has ended.
   *
   * @throws Error when the system can't be asked; nothing follows from that about what runs.
   */
  list(): Promise<readonly Launched[]>
  /**
   * Who holds a launch identity, or undefined when nobody that is launched now does. A token proves its holder only
   * while that launch is there.
   */
  identify(token: string): Promise<Launched | undefined>
  /**
   * Kills everything of the session, whatever it did to get away that the system can still see, and clears its files
   * away. With `podUid` only that launch; another launch of the same session stays. It resolves when that is done or
   * ordered for good (Kubernetes), also when there was nothing, and may be repeated and interrupted at any point.
   *
   * @throws Error when something of it may still run; call again.
   */
  remove(sessionId: string, podUid?: string): Promise<void>
  /** Calls `listener` soon after a launch came, went, moved or lost its host. Several changes may make one call. */
  onChange(listener: () => void): () => void
  /** Stops watching. What runs goes on running. */
  close(): Promise<void>
}
