import { AppError } from '@cliscale/contract'

/** Counts upgrades that are not answered yet: they hold a file descriptor before anybody has proved anything. */
export interface PendingUpgrades {
  readonly count: number
  /**
   * Takes a place; the returned function gives it back, once.
   * @throws AppError `too_many_connections`
   */
  enter(address: string): () => void
}

export function createPendingUpgrades(limits: { total: number; perAddress: number }): PendingUpgrades {
  const byAddress = new Map<string, number>()
  let count = 0
  return {
    get count() {
      return count
    },
    enter: (address) => {
      const own = byAddress.get(address) ?? 0
      if (count >= limits.total || own >= limits.perAddress)
        throw new AppError('too_many_connections', {
          detail: `More than ${count >= limits.total ? limits.total : limits.perAddress} connections are being opened. Try again in a moment.`,
          headers: { 'Retry-After': '1' },
        })
      count += 1
      byAddress.set(address, own + 1)
      let isInside = true
      return () => {
        if (!isInside) return
        isInside = false
        count -= 1
        const left = (byAddress.get(address) ?? 1) - 1
        if (left === 0) byAddress.delete(address)
        else byAddress.set(address, left)
      }
    },
  }
}
