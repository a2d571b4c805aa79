import { AppError } from '@cliscale/contract'
import ipaddr from 'ipaddr.js'
import { RateLimiterPostgres } from 'rate-limiter-flexible'
import type { Queryable } from '../db/database.ts'

const WINDOW_SECONDS = 60

/**
 * Counts one creation for a client address, on the connection of the transaction that creates: one that is rolled back
 * counts nothing, and no second connection is waited for. All replicas share the count (table `rate_limits`).
 *
 * @throws AppError rate_limited with Retry-After when the address has had its share of this minute.
 */
export async function countCreation(trx: Queryable, address: string, perMinute: number): Promise<void> {
  const limiter = new RateLimiterPostgres({
    storeClient: trx,
    storeType: 'client',
    tableName: 'rate_limits',
    tableCreated: true,
    clearExpiredByTimeout: false,
    keyPrefix: 'create',
    points: perMinute,
    duration: WINDOW_SECONDS,
  })
  try {
    await limiter.consume(limitKey(address))
  } catch (refusal) {
    // The library throws its result, which is no Error, when there are no points left.
    const { msBeforeNext } = refusal as { msBeforeNext?: unknown }
    if (typeof msBeforeNext !== 'number') throw refusal
    const seconds = Math.max(1, Math.ceil(msBeforeNext / 1000))
    throw new AppError('rate_limited', {
      detail: `One address may create at most ${perMinute} sessions a minute. Try again in ${seconds} s.`,
      headers: { 'Retry-After': String(seconds) },
    })
  }
}

/** What counts as one client: an IPv4 address, or the /64 that one IPv6 customer has at the least. */
function limitKey(address: string): string {
  if (!ipaddr.isValid(address)) return 'unknown'
  const ip = ipaddr.process(address)
  if (ip.kind() === 'ipv4') return ip.toString()
  const network = ip.toByteArray().map((byte, i) => (i < 8 ? byte : 0))
  return `${ipaddr.fromByteArray(network).toString()}/64`
}
