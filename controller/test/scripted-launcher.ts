import {
  type Identified,
  type Launched,
  type Launcher,
  LauncherUnavailable,
  type LaunchRequest,
} from '../src/launch/launcher.ts'

/**
 * A launcher that runs nothing: a test says what the cluster says. It is no double of one; what a launcher promises is
 * shown by test/launch-contract.ts for those that are real. Here it is what the reconciler makes of their words.
 */
export class ScriptedLauncher implements Launcher {
  readonly launches: LaunchRequest[] = []
  readonly removed: [sessionId: string, launchId: string | undefined][] = []
  /** What is listed, by session. */
  readonly entries = new Map<string, Launched[]>()
  /** What is listed besides: launches that have no session yet. */
  readonly unassigned: Launched[] = []
  /** Set: every launch throws it. */
  launchError: Error | undefined
  /** Set: nothing can be listed. */
  listError: Error | undefined
  /** Set: nothing can be listed anew. */
  refreshError: Error | undefined
  /** What the cluster says when it is asked anew. */
  onRefresh: () => void = () => undefined
  /** Set: nothing can be removed. */
  removeError: Error | undefined
  readonly #listeners = new Set<() => void>()

  launch(request: LaunchRequest): Promise<void> {
    this.launches.push(request)
    if (this.launchError) return Promise.reject(this.launchError)
    const { sessionId } = request
    if (!this.entries.has(sessionId)) this.say(sessionId, { launchId: undefined, progress: 'scheduling' })
    return Promise.resolve()
  }

  list(): Promise<readonly Launched[]> {
    if (this.listError) return Promise.reject(this.listError)
    return Promise.resolve([...this.unassigned, ...[...this.entries.values()].flat()])
  }

  /** Calls that the reconciler makes before it believes that something is missing. */
  refreshes = 0
  refresh(): Promise<void> {
    this.refreshes++
    if (this.refreshError) return Promise.reject(this.refreshError)
    this.onRefresh()
    return Promise.resolve()
  }

  identify(): Promise<Identified | undefined> {
    return Promise.reject(new LauncherUnavailable('nobody claims here'))
  }

  remove(sessionId: string, launchId?: string): Promise<void> {
    this.removed.push([sessionId, launchId])
    if (this.removeError) return Promise.reject(this.removeError)
    const left = (this.entries.get(sessionId) ?? []).filter(
      (entry) => launchId !== undefined && entry.launchId !== launchId,
    )
    if (left.length === 0) this.entries.delete(sessionId)
    else this.entries.set(sessionId, left)
    return Promise.resolve()
  }

  expectEnd(): void {}

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  /** From now on the cluster says this of a session; nothing: that there is no launch of it. */
  say(sessionId: string, ...entries: Omit<Launched, 'sessionId'>[]): void {
    if (entries.length === 0) this.entries.delete(sessionId)
    else
      this.entries.set(
        sessionId,
        entries.map((entry) => ({ sessionId, ...entry })),
      )
    for (const listener of this.#listeners) listener()
  }

  /** How often a session was launched. */
  count(sessionId: string): number {
    return this.launches.filter((request) => request.sessionId === sessionId).length
  }
}
