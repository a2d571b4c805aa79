/** Where a socket may lead: addresses are checked when they are dialled, and the checked address is the dialled one. */
import { type LookupAddress, lookup as systemLookup } from 'node:dns'
import { type LookupFunction } from 'node:net'
import { promisify } from 'node:util'
import type { FetchPolicy } from '@cliscale/contract'
import { isPublicAddress } from '@cliscale/contract/address'
import { isUnsafeHost } from '@cliscale/contract/code-url'
import { SessionFailure } from '../failure.ts'
import { printable } from './refusal.ts'

/** Resolves a name to all its addresses, as the system does. */
export type Resolve = (hostname: string) => Promise<readonly LookupAddress[]>

const lookupAll = promisify(systemLookup)
export const systemResolve: Resolve = (hostname) => lookupAll(hostname, { all: true, verbatim: true })

/**
 * All addresses of a URL's host, once every one of them was found to be public: one bad address refuses the name.
 * @throws SessionFailure `code_host_refused`; `download_failed` when the name has no address
 */
export async function resolveChecked(
  url: URL,
  policy: FetchPolicy,
  resolve: Resolve,
): Promise<readonly LookupAddress[]> {
  const host = url.hostname.replace(/^\[|\]$/g, '')
  let addresses: readonly LookupAddress[]
  try {
    addresses = await resolve(host)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error'
    throw new SessionFailure(
      'download_failed',
      `The host ${printable(host)} could not be found (${code}). Check the name in code_url, and that this machine can resolve names.`,
      { cause: error },
    )
  }
  if (addresses.length === 0)
    throw new SessionFailure(
      'download_failed',
      `The host ${printable(host)} has no address. Check the name in code_url.`,
    )
  const bad = isUnsafeHost(url, policy) ? undefined : addresses.find(({ address }) => !isPublicAddress(address))
  if (bad !== undefined)
    throw new SessionFailure(
      'code_host_refused',
      `The host ${printable(host)} leads to ${bad.address}, which is not a public address. Use a public https address.`,
    )
  return addresses
}

/** `lookup` of a socket for one URL; it hands out checked addresses and nothing else. */
export function checkedLookup(url: URL, policy: FetchPolicy, resolve: Resolve): LookupFunction {
  return (_hostname, options, callback) => {
    const answer = async (): Promise<void> => {
      try {
        const addresses = await resolveChecked(url, policy, resolve)
        const wanted = addresses.filter(({ family }) => !options.family || family === options.family)
        const [first] = wanted
        if (first === undefined) throw Object.assign(new Error('no address'), { code: 'ENOTFOUND' })
        if (options.all) callback(null, [...wanted])
        else callback(null, first.address, first.family)
      } catch (error) {
        callback(error as Error, '')
      }
    }
    void answer()
  }
}
