/** What a `code_url` means and whether it may be fetched: pure, so the API and a session's host decide alike. */
import { LIMITS } from './api.ts'
import { AppError } from './errors.ts'
import { bareHost, checkFetchTarget, displayUrl, FORMS, isUnsafeHost } from './fetch-target.ts'
import {
  type ForgePage,
  type GitPlace,
  isForge,
  isSurePage,
  type NoCode,
  readForgePage,
  repositoryOf,
} from './forge-url.ts'
import { gitRefFault } from './git-ref.ts'
import type { FetchPolicy } from './internal.ts'

export { bareHost, checkFetchTarget, displayUrl, isUnsafeHost, portOf } from './fetch-target.ts'
export type { GitPlace } from './forge-url.ts'

interface Remote {
  /** Normalised, query included: a secret when it is signed. Never log it; use `display`. */
  readonly url: string
  /** For people and logs: no query, at most 300 characters. */
  readonly display: string
}

/** One kind for each way of getting code. */
export type CodeUrl =
  | (Remote & {
      readonly kind: 'github-tree'
      /** Scheme, host and port. */
      readonly origin: string
      readonly owner: string
      readonly repo: string
      /** Ref and folder as the URL has them, decoded; only the repository's refs tell where one ends. */
      readonly refAndPath: string
      readonly sha256: string | null
    })
  /** One file; its bytes tell what kind of archive it is. `sha256` is the one in the URL's fragment, in lower case. */
  | (Remote & { readonly kind: 'archive'; readonly sha256: string | null })
  /** `url` is the one that git fetches from. */
  | (Remote & { readonly kind: 'git'; readonly place: GitPlace })
  | { readonly kind: 'folder'; readonly path: string; readonly display: string }

/**
 * Reads a `code_url`.
 * @throws AppError `url_too_long`, `url_invalid`, `url_scheme`, `url_credentials`, `url_host`, `url_port`. Its detail
 * never holds the query or the credentials.
 */
export function parseCodeUrl(text: string, policy: FetchPolicy): CodeUrl {
  const trimmed = text.trim()
  if (trimmed === '') throw invalid('must not be empty; leave it out to run in an empty folder.')
  if (trimmed.length > LIMITS.urlChars)
    throw new AppError('url_too_long', {
      detail: `code_url has ${trimmed.length} characters; at most ${LIMITS.urlChars} are allowed.`,
    })
  if (trimmed.startsWith('/') && !trimmed.startsWith('//')) return parseFolder(trimmed, policy)
  if (policy.localFolders && /^[.~]/.test(trimmed))
    throw invalid('is not an absolute path. A folder of this machine is given by its whole path, beginning with /.')
  if (/[\0-\x20\x7f\\]/.test(trimmed))
    throw invalid('contains a space, a backslash or a control character; write them percent-encoded.')
  const [, plus, address = ''] = /^(git\+(?=https?:))?(.*)$/is.exec(trimmed) ?? []
  const url = readUrl(address)
  checkFetchTarget(url, policy)
  return classify(url, plus !== undefined, policy)
}

/** The SHA-256 that a URL carries in its fragment; null when it carries none. */
export function checksumOf(code: CodeUrl): string | null {
  return code.kind === 'archive' || code.kind === 'github-tree' ? code.sha256 : null
}

function invalid(what: string): AppError {
  return new AppError('url_invalid', { detail: `code_url ${what}` })
}

function parseFolder(path: string, policy: FetchPolicy): CodeUrl {
  if (!policy.localFolders)
    throw new AppError('url_scheme', {
      detail: `code_url is the path of a folder, which works only where CLI Scale runs on one machine. ${FORMS}`,
    })
  if (/[\0-\x1f\x7f]/.test(path)) throw invalid('is a path with a control character.')
  if (path.split('/').includes('..')) throw invalid('must be an absolute path without "..".')
  const clean = path.replaceAll(/\/(\.?\/)*/g, '/').replace(/(.)\/\.?$/, '$1')
  return { kind: 'folder', path: clean, display: clean.slice(0, 300) }
}

function readUrl(text: string): URL {
  const port = /^[a-z]+:\/\/[^/?#]*:(\d+)(?=[/?#]|$)/i.exec(text)?.[1]
  if (port !== undefined && (Number(port) > 65535 || Number(port) === 0))
    throw new AppError('url_port', {
      detail: 'code_url has a port that does not exist. Use 443, or a port from 1024 to 65535.',
    })
  if (/^[\w.-]+@[\w.-]+:(?!\/\/)/.test(text))
    throw new AppError('url_scheme', {
      detail:
        'code_url is an SSH address. Use the https address of the repository, such as https://github.com/owner/repo.git.',
    })
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw invalid(`is not a valid URL. It must start with https://. ${FORMS}`)
  }
  // The parser resolves dot segments, so https://github.com/o/r/tree/../../x would become another repository.
  const path = text.replace(/^[^:]*:\/*[^/?#]*/, '').replace(/[?#].*$/s, '')
  if (path.split('/').some((segment) => /^(\.|%2e){1,2}$/i.test(segment)))
    throw invalid('has "." or ".." as a part of its path. Write the path without them.')
  return url
}

const ARCHIVE = /.\.(zip|tar\.gz|tgz|tar)$/i
/** Parts of a path by which servers hand out archives under names that do not tell. */
const DOWNLOADS = /^(tarball|zipball|(legacy\.)?(tar\.gz|zip)|downloads?|artifacts?|archive)$/i
const OTHER_ARCHIVE = /\.(tar\.(bz2|xz|zst|lz|lz4|lzma|z)|tbz2?|txz|tzst|7z|rar|jar|whl|gem|deb|rpm)$/i

function classify(url: URL, isGit: boolean, policy: FetchPolicy): CodeUrl {
  const fragment = decode(url.hash.slice(1), 'fragment')
  url.hash = ''
  url.hostname = bareHost(url)
  if (url.hostname === 'www.github.com') url.hostname = 'github.com'
  const segments = decodeSegments(url)
  const last = segments.at(-1) ?? ''
  if (isGit || /.\.git$/i.test(last)) return asRepository(url, fragment, isGit)
  if (/\.git@[^/]+$/i.test(last)) throw invalid('names a branch, tag or commit after "@". Write it after "#" instead.')
  const page = pageOf(url, segments)
  const isPageFirst =
    isForge(url.hostname) || isSurePage(segments) || (isUnsafeHost(url, policy) && segments[2] === 'tree')
  if (page !== undefined && (isPageFirst || !ARCHIVE.test(last))) return asPage(url, page, fragment)
  if (isArchive(url, segments)) return asArchive(url, fragment)
  if (OTHER_ARCHIVE.test(last))
    throw invalid('names an archive of a kind that is not supported. Pack it as .zip or .tar.gz.')
  if (isForge(url.hostname)) throw invalid(`is a page without code to fetch. ${FORMS}`)
  throw invalid(`names neither an archive nor a repository. ${FORMS}`)
}

function isArchive(url: URL, segments: readonly string[]): boolean {
  if (ARCHIVE.test(segments.at(-1) ?? '')) return true
  // A page of a forge is none because of its query, such as ?tab=readme.
  if (isForge(url.hostname)) return segments.slice(2).some((part) => DOWNLOADS.test(part)) && segments.length > 3
  return url.search !== '' || segments.some((part) => ARCHIVE.test(part) || DOWNLOADS.test(part))
}

function asArchive(url: URL, fragment: string): CodeUrl {
  return { kind: 'archive', url: url.href, display: displayUrl(url), sha256: readChecksum(fragment) }
}

function readChecksum(fragment: string): string | null {
  if (fragment === '') return null
  const sha256 = /^sha256=([0-9a-f]{64})$/i.exec(fragment)?.[1]
  if (sha256 !== undefined) return sha256.toLowerCase()
  throw invalid(
    'has something after "#" that means nothing here: an archive or tree URL takes only #sha256= and 64 hexadecimal digits. Remove it, or everything from "#" on.',
  )
}

function pageOf(url: URL, segments: readonly string[]): ForgePage | NoCode | undefined {
  const gist = url.hostname === 'gist.github.com' && /^[0-9a-f]{20,}$/i.test(segments.at(-1) ?? '')
  if (gist && segments.length <= 2)
    return { repository: segments, place: { kind: 'ref', ref: null, folder: '' }, isGitHubTree: false }
  return readForgePage(url.hostname, segments, url.searchParams)
}

function asPage(url: URL, page: ForgePage | NoCode, fragment: string): CodeUrl {
  if ('fault' in page) throw invalid(page.fault)
  const { repository, place } = page
  if (url.hostname === 'github.com' && repository.some((part) => !/^[\w.-]{1,100}$/.test(part)))
    throw invalid('has an owner or repository name that GitHub does not allow.')
  const address = new URL(`${url.origin}/${repository.map(encodeURIComponent).join('/')}.git`)
  if (place.kind === 'ref' && place.ref === null) {
    address.search = url.searchParams.has('ref') ? `?ref=${encodeURIComponent(url.searchParams.get('ref') ?? '')}` : ''
    return asRepository(address, fragment, false)
  }
  const sha256 = readPageChecksum(page, fragment)
  checkPlace(place)
  url.search = ''
  const display = displayUrl(url)
  if (!page.isGitHubTree) return { kind: 'git', url: address.href, display, place }
  const [owner = '', repo = ''] = repository
  return {
    kind: 'github-tree',
    url: url.href,
    display,
    origin: url.origin,
    owner,
    repo,
    refAndPath: place.kind === 'ref' ? [place.ref, place.folder].filter(Boolean).join('/') : place.refAndPath,
    sha256,
  }
}

function readPageChecksum(page: ForgePage, fragment: string): string | null {
  if (page.isGitHubTree || fragment === '') return readChecksum(fragment)
  throw invalid('is the page of a branch, tag or commit and has something after "#". Remove everything from "#" on.')
}

/** No name that the URL may mean is one that a repository can have: no need to ask it. */
function checkPlace(place: GitPlace): void {
  const text = place.kind === 'ref' ? (place.ref ?? '') : place.refAndPath
  const parts = text.split('/')
  const names = place.kind === 'ref' ? [text] : parts.map((_, i) => parts.slice(0, i + 1).join('/'))
  const faults = names.map(gitRefFault)
  if (faults.every((fault) => fault !== undefined)) throw badRef(names[0] ?? '', faults[0] ?? '')
}

function badRef(ref: string, fault: string): AppError {
  const shown = JSON.stringify(ref.slice(0, 100).toWellFormed())
  return invalid(`names ${shown} as a branch, tag or commit, which no repository can have: it ${fault}.`)
}

/** The address of a repository, with a ref after "#" or in `?ref=`. */
function asRepository(url: URL, fragment: string, isGit: boolean): CodeUrl {
  const query = [...url.searchParams.keys()]
  if (query.some((key) => key !== 'ref') || query.length > 1)
    throw invalid(
      'is a repository with a query, which git does not support. Remove everything from "?" on; a branch, tag or commit goes after "#" or into ?ref=.',
    )
  const asked = url.searchParams.get('ref') ?? ''
  const place = readFragment(fragment)
  if (asked !== '' && place.ref !== null && asked !== place.ref)
    throw invalid('names one branch, tag or commit in ?ref= and another after "#". Keep one of them.')
  url.search = ''
  url.pathname = repositoryOf(url, isGit)
  const ref = place.ref ?? (asked === '' || asked === 'HEAD' ? null : asked)
  if (ref !== null) checkPlace({ kind: 'ref', ref, folder: '' })
  const at = [ref ?? '', place.folder].filter((part) => part !== '').join(':')
  const display = at === '' ? displayUrl(url) : `${displayUrl(url)}#${at}`.slice(0, 300)
  return { kind: 'git', url: url.href, display, place: { kind: 'ref', ref, folder: place.folder } }
}

/** `#ref`, or `#ref:folder` as Docker has it: no ref holds a colon. */
function readFragment(fragment: string): { ref: string | null; folder: string } {
  if (/^(semver|egg|subdirectory|sha256|md5|branch|tag|ref|rev|commit|path)[=:]/i.test(fragment))
    throw invalid(
      `has ${JSON.stringify(fragment.split(/[=:]/)[0])} after "#", which has no meaning for a repository. Write the branch, tag or commit itself: #main, #v1.2.0.`,
    )
  const [ref = '', ...below] = fragment.split(':')
  const parts = below.join(':').split('/')
  if (parts.some((part) => part === '..' || part === '.')) throw invalid('has "." or ".." in the folder after "#".')
  return { ref: ref === '' || ref === 'HEAD' ? null : ref, folder: parts.filter((part) => part !== '').join('/') }
}

function decode(text: string, part: 'path' | 'fragment'): string {
  let decoded: string
  try {
    decoded = decodeURIComponent(text)
  } catch {
    throw invalid(`has a percent sign in its ${part} that encodes nothing. Write it as %25.`)
  }
  if (/[\0-\x1f\x7f]/.test(decoded)) throw invalid(`has a control character in its ${part}.`)
  return decoded
}

/** Path segments, decoded and without empty ones; nothing in them can climb or hide a character. */
function decodeSegments(url: URL): string[] {
  const segments = decode(url.pathname, 'path')
    .split('/')
    .filter((segment) => segment !== '')
  if (segments.some((segment) => segment === '..' || segment === '.'))
    throw invalid('has "." or ".." as a part of its path. Write the path without them.')
  return segments
}
