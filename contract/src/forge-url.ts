/**
 * What the addresses of repositories' pages mean, by their shape alone: self-hosted GitLab, Gitea, Forgejo, Bitbucket
 * and GitHub look like the public ones. Pure; whether an address may be fetched is decided in code-url.ts.
 */

/** Where in a repository the code is. */
export type GitPlace =
  /** All of the default branch, or `folder` of a branch, tag or commit. A null ref is the default branch. */
  | { readonly kind: 'ref'; readonly ref: string | null; readonly folder: string }
  /** Ref and folder as the URL has them; only the repository's refs tell where one ends. */
  | { readonly kind: 'ref-and-path'; readonly refAndPath: string; readonly among: 'heads' | 'tags' | 'all' }

export interface ForgePage {
  /** Path of the repository, without `.git`. */
  readonly repository: readonly string[]
  readonly place: GitPlace
  /** Whether the place is one whose tarball GitHub or GitHub Enterprise serves: /owner/repo/tree/…, GitHub's commits. */
  readonly isGitHubTree: boolean
}

/** A page that is no folder of code: what it is, and what to use instead, as the end of a sentence. */
export interface NoCode {
  readonly fault: string
}

interface Shape {
  /** Words of the path after the repository. */
  readonly words: readonly string[]
  /** undefined: it is none of this shape after all. */
  readonly read: (rest: readonly string[], query: URLSearchParams) => GitPlace | NoCode | undefined
  /** Whether other sites' paths rarely look like this, so that a name such as x.zip at the end changes nothing. */
  readonly isSure?: boolean
}

const FILE_FAULT =
  'is the page of a single file. Use the tree URL of its folder, or the address that downloads the file itself (raw).'

const treeOf =
  (among: 'heads' | 'tags' | 'all') =>
  (rest: readonly string[], query: URLSearchParams): GitPlace | NoCode => {
    if (rest.length === 0) return { fault: 'names no branch, tag or commit at its end.' }
    const type = query.get('ref_type')
    const told = type === 'heads' || type === 'tags' ? type : among
    return { kind: 'ref-and-path', refAndPath: rest.join('/'), among: told }
  }

function commit(rest: readonly string[]): GitPlace | NoCode {
  const [id = '', ...folder] = rest
  if (!/^[0-9a-f]{4,64}$/i.test(id)) return { fault: 'names no commit: it must have 40 hexadecimal digits.' }
  return { kind: 'ref', ref: id.toLowerCase(), folder: folder.join('/') }
}

/** Reviews of a proposed change: its newest state. */
const proposal =
  (folder: string) =>
  ([number = '']: readonly string[]): GitPlace | NoCode =>
    /^\d{1,12}$/.test(number)
      ? { kind: 'ref', ref: `refs/${folder}/${number}/head`, folder: '' }
      : { fault: 'is a list page. Use the address of a single entry.' }

const noCode = (fault: string) => (): NoCode => ({ fault })

/** GitHub hands out the file itself by ?raw=true. */
const file = (_rest: readonly string[], query: URLSearchParams): NoCode | undefined =>
  query.has('raw') ? undefined : { fault: FILE_FAULT }

/** What stands furthest left in a path is meant; of two at the same place, the first here. */
const SHAPES: readonly Shape[] = [
  { words: ['-', 'tree'], read: treeOf('all'), isSure: true },
  { words: ['-', 'blob'], read: file, isSure: true },
  { words: ['-', 'commit'], read: commit, isSure: true },
  { words: ['-', 'commits'], read: commit, isSure: true },
  { words: ['-', 'merge_requests'], read: proposal('merge-requests'), isSure: true },
  { words: ['src', 'branch'], read: treeOf('heads'), isSure: true },
  { words: ['src', 'tag'], read: treeOf('tags'), isSure: true },
  { words: ['src', 'commit'], read: commit, isSure: true },
  { words: ['tree'], read: treeOf('all') },
  { words: ['blob'], read: file },
  { words: ['src'], read: treeOf('all') },
  { words: ['commit'], read: commit },
  { words: ['commits'], read: commit },
  { words: ['pull'], read: proposal('pull') },
  { words: ['pulls'], read: proposal('pull') },
  {
    words: ['releases', 'tag'],
    read: noCode('is the page of a release. Use the tree URL of its tag, or the address of one of its files.'),
  },
]

/** Hosts whose every repository is a page with this many path segments (0: two or more). */
const REPOSITORY_SEGMENTS: Readonly<Record<string, number>> = {
  'github.com': 2,
  'gitlab.com': 0,
  'bitbucket.org': 2,
  'codeberg.org': 2,
  'gitea.com': 2,
}

/** Whether all pages of a host are those of repositories. */
export function isForge(host: string): boolean {
  return Object.hasOwn(REPOSITORY_SEGMENTS, host)
}

/** What a page's address means; undefined when it has no shape that is known here. */
export function readForgePage(
  host: string,
  segments: readonly string[],
  query: URLSearchParams,
): ForgePage | NoCode | undefined {
  const found = SHAPES.map((shape) => ({ shape, at: findWords(segments, shape.words) }))
    .filter(({ shape, at }) => at !== -1 && isPossible(shape, at, host))
    .sort((a, b) => a.at - b.at)
  for (const { shape, at } of found) {
    const place = shape.read(segments.slice(at + shape.words.length), query)
    if (place === undefined) continue
    if ('fault' in place) return place
    const isGitHub = at === 2 && (host === 'github.com' || !isForge(host))
    return {
      repository: trimSuffix(segments.slice(0, at)),
      place,
      isGitHubTree: isGitHub && (shape.words[0] === 'tree' || (host === 'github.com' && shape.read === commit)),
    }
  }
  return isRepositoryPage(host, segments)
    ? { repository: trimSuffix(segments), place: { kind: 'ref', ref: null, folder: '' }, isGitHubTree: false }
    : undefined
}

/** A site that is not known to be a forge has such words anywhere in its paths. */
function isPossible(shape: Shape, at: number, host: string): boolean {
  if (shape.isSure !== true && !isForge(host)) return at === 2
  if (shape.words[0] !== 'src') return true
  // Bitbucket has no words between /src/ and the ref, which may be called like one; GitLab has no /src/.
  return host !== 'gitlab.com' && (host !== 'bitbucket.org' || shape.words.length === 1)
}

/** Whether a shape is one that no address of a file has. */
export function isSurePage(segments: readonly string[]): boolean {
  return SHAPES.some((shape) => shape.isSure === true && findWords(segments, shape.words) !== -1)
}

function findWords(segments: readonly string[], words: readonly string[]): number {
  for (let at = 2; at + words.length <= segments.length; at += 1)
    if (words.every((word, i) => segments[at + i] === word)) return at
  return -1
}

function isRepositoryPage(host: string, segments: readonly string[]): boolean {
  if (!isForge(host)) return false
  const count = REPOSITORY_SEGMENTS[host]
  return count === 0 ? segments.length >= 2 && !segments.includes('-') : segments.length === count
}

function trimSuffix(repository: readonly string[]): string[] {
  return repository.map((part, i) => (i === repository.length - 1 ? part.replace(/\.git$/i, '') : part))
}

/** The path that git is given for the address of a repository; forges serve a page at one without `.git`. */
export function repositoryOf(url: URL, isGit: boolean): string {
  const path = url.pathname.replace(/\/+$/, '')
  return isGit && isForge(url.hostname) && !/\.git$/i.test(path) ? `${path}.git` : path
}
