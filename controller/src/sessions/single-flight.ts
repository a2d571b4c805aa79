/**
 * Lets one at a time begin for a key in this process: those that come meanwhile wait until it has settled, and then
 * all go on together. It only spares the database: equal requests would otherwise wait there, each with a connection.
 */
export class SingleFlight {
  readonly #leaders = new Map<string, Promise<void>>()

  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const leader = this.#leaders.get(key)
    if (leader !== undefined) {
      await leader
      return work()
    }
    const result = work()
    const settled = result.then(
      () => {},
      () => {},
    )
    this.#leaders.set(key, settled)
    try {
      return await result
    } finally {
      this.#leaders.delete(key)
    }
  }
}
