/** The refs of a repository over git's smart HTTP, as bytes (no I/O): gitprotocol-v2 and the older advertisement. */
import { SessionFailure } from '../failure.ts'
import { nearest } from './nearest.ts'
import { printable } from './refusal.ts'

/** The body of an `ls-refs` command for all branches and tags. */
export function lsRefsRequest(): Buffer {
  const line = (text: string): string => (text.length + 5).toString(16).padStart(4, '0') + text + '\n'
  return Buffer.from(
    `${line('command=ls-refs')}0001${line('peel')}${line('ref-prefix refs/heads/')}${line('ref-prefix refs/tags/')}0000`,
  )
}

/** Whether a server's advertisement is of protocol version 2, which lists no refs by itself. */
export function isVersion2(advertisement: Buffer): boolean {
  return pktLines(advertisement).some((line) => line === 'version 2')
}

/** Full names of branches and tags (`refs/heads/…`, `refs/tags/…`), each with the commit it stands at. */
export type Refs = ReadonlyMap<string, string>

/**
 * Branches and tags in an answer to `ls-refs` or in an old advertisement.
 * @throws SessionFailure `download_failed` when the bytes are no pkt-lines
 */
export function parseRefs(answer: Buffer): Refs {
  const refs = new Map<string, string>()
  for (const line of pktLines(answer)) {
    const [, id = '', name = '', rest = ''] =
      /^([0-9a-f]{40,64}) (refs\/(?:heads|tags)\/[^ \0]+)(.*)$/s.exec(line) ?? []
    if (name === '') continue
    // What an annotated tag stands at: an attribute of its line, or, by the old protocol, a line of its own.
    refs.set(name.replace(/\^\{\}$/, ''), /^ peeled:([0-9a-f]{40,64})/.exec(rest)?.[1] ?? id)
  }
  return refs
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

const shortName = (ref: string): string => ref.replace(/^refs\/(heads|tags)\//, '')

/**
 * Tells where the ref ends in the part of a tree URL after `/tree/`: the longest branch or tag that it starts with,
 * else a commit. Only names that the repository really has are ever taken.
 * @throws SessionFailure `ref_not_found`
 */
export function splitRef(refAndPath: string, refs: Refs, among: 'heads' | 'tags' | 'all' = 'all'): RefAndFolder {
  const known = [...refs.keys()].filter((ref) => among === 'all' || ref.startsWith(`refs/${among}/`))
  let best: RefAndFolder | undefined
  for (const ref of known) {
    for (const shortRef of [ref, shortName(ref)]) {
      if (refAndPath !== shortRef && !refAndPath.startsWith(`${shortRef}/`)) continue
      const longer = best === undefined || shortRef.length > best.shortRef.length
      // A branch wins over a tag of the same name.
      if (longer || (shortRef === best?.shortRef && ref.startsWith('refs/heads/')))
        best = { ref, shortRef, folder: refAndPath.slice(shortRef.length + 1) }
    }
  }
  if (best) return best
  const [first = '', ...rest] = refAndPath.split('/')
  if (/^[0-9a-f]{7,64}$/i.test(first)) return { ref: first.toLowerCase(), shortRef: first, folder: rest.join('/') }
  throw refNotFound(first, nearest(first, known.map(shortName)))
}

/**
 * A branch, a tag or a commit by the whole of its name.
 * @throws SessionFailure `ref_not_found`
 */
export function findRef(ref: string, refs: Refs): string {
  const known = [ref, `refs/heads/${ref}`, `refs/tags/${ref}`].find((name) => refs.has(name))
  if (known !== undefined) return known
  if (/^[0-9a-f]{4,64}$/i.test(ref)) return ref.toLowerCase()
  const { detail } = refNotFound(ref, nearest(ref, [...refs.keys()].map(shortName)))
  throw new SessionFailure('ref_not_found', `${detail} A name after "#" or in ?ref= of code_url is read as one.`)
}

/**
 * The whole id of a commit that may be abbreviated. A server of git only finds what has a name or its whole id, so an
 * abbreviation is known where a branch or tag stands at the commit.
 * @throws SessionFailure `ref_not_found`
 */
export function wholeCommit(id: string, refs: Refs): string {
  if (id.length === 40 || id.length === 64) return id
  const found = new Set([...refs.values()].filter((commit) => commit.startsWith(id)))
  const [commit] = found
  if (commit !== undefined && found.size === 1) return commit
  throw new SessionFailure(
    'ref_not_found',
    `There is no branch or tag ${printable(id)}, and as a commit id it is too short: a git server finds a commit only by all of its 40 digits, unless a branch or tag points to it. Write the whole id.`,
  )
}

export function refNotFound(ref: string, near: readonly string[] = []): SessionFailure {
  const hint = near.length === 0 ? '' : ` Nearest: ${near.map(printable).join(', ')}.`
  return new SessionFailure(
    'ref_not_found',
    `There is no branch, tag or commit ${printable(ref)} in the repository.${hint}`,
  )
}
