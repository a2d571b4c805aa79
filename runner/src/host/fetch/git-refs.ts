/** The refs of a repository over git's smart HTTP, as bytes (no I/O): gitprotocol-v2 and the older advertisement. */
import { SessionFailure } from '../failure.ts'
import { nearest } from './nearest.ts'
import { printable } from './refusal.ts'

/** The body of an `ls-refs` command for all branches and tags. */
export function lsRefsRequest(): Buffer {
  const line = (text: string): string => (text.length + 5).toString(16).padStart(4, '0') + text + '\n'
  return Buffer.from(
    `${line('command=ls-refs')}0001${line('ref-prefix refs/heads/')}${line('ref-prefix refs/tags/')}0000`,
  )
}

/** Whether a server's advertisement is of protocol version 2, which lists no refs by itself. */
export function isVersion2(advertisement: Buffer): boolean {
  return pktLines(advertisement).some((line) => line === 'version 2')
}

/**
 * Names of branches and tags (`refs/heads/…`, `refs/tags/…`) in an answer to `ls-refs` or in an old advertisement.
 * @throws SessionFailure `download_failed` when the bytes are no pkt-lines
 */
export function parseRefs(answer: Buffer): string[] {
  return pktLines(answer)
    .map((line) => /^[0-9a-f]{40,64} (refs\/(?:heads|tags)\/[^ \0]+)/.exec(line)?.[1])
    .filter((name) => name !== undefined && !name.endsWith('^{}'))
    .map(String)
}

function pktLines(bytes: Buffer): string[] {
  const lines: string[] = []
  for (let at = 0; at < bytes.length;) {
    const digits = bytes.toString('latin1', at, at + 4)
    const length = /^[0-9a-f]{4}$/i.test(digits) ? Number.parseInt(digits, 16) : Number.NaN
    if (Number.isNaN(length) || length === 3 || at + length > bytes.length)
      throw new SessionFailure('download_failed', 'The server does not answer as a git repository. Check code_url.')
    if (length > 4) lines.push(bytes.toString('utf8', at + 4, at + length).replace(/\n$/, ''))
    at += Math.max(length, 4)
  }
  return lines
}

export interface RefAndFolder {
  /** Full name of a branch or tag, or a commit. */
  readonly ref: string
  /** As the URL calls it. */
  readonly shortRef: string
  /** Below the repository, without slashes at its ends; '' for all of it. */
  readonly folder: string
}

/**
 * Tells where the ref ends in the part of a tree URL after `/tree/`: the longest branch or tag that it starts with,
 * else a commit. Only names that the repository really has are ever taken.
 * @throws SessionFailure `ref_not_found`
 */
export function splitRef(refAndPath: string, refs: readonly string[]): RefAndFolder {
  let best: RefAndFolder | undefined
  for (const ref of refs) {
    for (const shortRef of [ref, ref.replace(/^refs\/(heads|tags)\//, '')]) {
      if (refAndPath !== shortRef && !refAndPath.startsWith(`${shortRef}/`)) continue
      const longer = best === undefined || shortRef.length > best.shortRef.length
      // A branch wins over a tag of the same name.
      if (longer || (shortRef === best?.shortRef && ref.startsWith('refs/heads/')))
        best = { ref, shortRef, folder: refAndPath.slice(shortRef.length + 1) }
    }
  }
  if (best) return best
  const [first = '', ...rest] = refAndPath.split('/')
  if (/^[0-9a-f]{7,40}$/.test(first)) return { ref: first, shortRef: first, folder: rest.join('/') }
  const names = refs.map((ref) => ref.replace(/^refs\/(heads|tags)\//, ''))
  throw refNotFound(first, nearest(first, names))
}

export function refNotFound(ref: string, near: readonly string[] = []): SessionFailure {
  const hint = near.length === 0 ? '' : ` Nearest: ${near.map(printable).join(', ')}.`
  return new SessionFailure(
    'ref_not_found',
    `There is no branch, tag or commit ${printable(ref)} in the repository.${hint}`,
  )
}
