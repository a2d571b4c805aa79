/** What a `code_url` means and whether it may be fetched: pure, so the API and a session's host decide alike. */
import ipaddr from 'ipaddr.js'
import { isPublicAddress } from './address.ts'
import { LIMITS } from './api.ts'
import { AppError } from './errors.ts'
import type { FetchPolicy } from './internal.ts'

interface Remote {
  /** Normalised, query included: a secret when it is signed. Never log it; use `display`. */
  readonly url: string
  /** For people and logs: no query, no fragment, at most 300 characters. */
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
    })
  | (Remote & { readonly kind: 'zip' | 'tar-gz' | 'git' })
  | { readonly kind: 'folder'; readonly path: string; readonly display: string }

const FORMS =
  'Use a GitHub tree URL (https://github.com/owner/repo/tree/ref/folder), a .zip, a .tar.gz or .tgz, or a repository that ends in .git.'

/**
 * Reads a `code_url`.
 * @throws AppError `url_too_long`, `url_invalid`, `url_scheme`, `url_credentials`, `url_host`, `url_port`. Its detail
 * never holds the query or the credentials.
 */
export function parseCodeUrl(text: string, policy: FetchPolicy): CodeUrl {
  const trimmed = text.trim()
  if (trimmed.length > LIMITS.urlChars)
    throw new AppError('url_too_long', {
      detail: `code_url has ${trimmed.length} characters; at most ${LIMITS.urlChars} are allowed.`,
    })
  if (trimmed.startsWith('/') && !trimmed.startsWith('//')) return parseFolder(trimmed, policy)
  if (/[\0-\x20\x7f\\]/.test(trimmed))
    throw invalid('contains a space, a backslash or a control character; write them percent-encoded.')
  const url = readUrl(trimmed)
  checkFetchTarget(url, policy)
  return classify(url, policy)
}

/** Whether the operator listed this URL's `host:port` as one for which https and public addresses are not demanded. */
export function isUnsafeHost(url: URL, policy: FetchPolicy): boolean {
  const key = `${bareHost(url)}:${portOf(url)}`
  return policy.unsafeHosts.some((entry) => entry.toLowerCase() === key)
}

/** Host of a URL in lower case without a trailing dot; IPv6 in brackets. */
export function bareHost(url: URL): string {
  return url.hostname.toLowerCase().replace(/\.$/, '')
}

/** Port of a URL, the scheme's own when none is given. */
export function portOf(url: URL): number {
  if (url.port !== '') return Number(url.port)
  return url.protocol === 'https:' ? 443 : 80
}

/** A URL for people: without query, fragment and credentials, at most 300 characters. */
export function displayUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`.slice(0, 300)
}

/**
 * Whether a URL may be fetched as far as its text tells; the addresses behind its name are checked at the dial. Each
 * hop of a redirect goes through this too.
 * @throws AppError `url_scheme`, `url_credentials`, `url_host`, `url_port`
 */
export function checkFetchTarget(url: URL, policy: FetchPolicy): void {
  const unsafe = isUnsafeHost(url, policy)
  checkScheme(url, unsafe)
  if (url.username !== '' || url.password !== '')
    throw new AppError('url_credentials', {
      detail: 'code_url carries a user name or password before the host. Remove it: credentials in URLs are refused.',
    })
  if (unsafe) return
  checkHost(bareHost(url), policy)
  const port = portOf(url)
  if (port !== 443 && port < 1024)
    throw new AppError('url_port', { detail: `code_url has the port ${port}. Use 443, or a port from 1024 to 65535.` })
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
    throw invalid(`is not a URL that can be read. It must start with https://. ${FORMS}`)
  }
  // The parser resolves dot segments, so https://github.com/o/r/tree/../../x would become another repository.
  const path = text.replace(/^[^:]*:\/*[^/?#]*/, '').replace(/[?#].*$/s, '')
  if (path.split('/').some((segment) => /^(\.|%2e){1,2}$/i.test(segment)))
    throw invalid('has "." or ".." as a part of its path. Write the path without them.')
  return url
}

function checkScheme(url: URL, unsafe: boolean): void {
  if (url.protocol === 'https:' || (unsafe && url.protocol === 'http:')) return
  const scheme = url.protocol.slice(0, 20)
  const hint: Record<string, string> = {
    'http:': 'Only https is allowed. An operator can allow a host over http by CLISCALE_FETCH_UNSAFE_HOSTS=host:port.',
    'file:': 'file: URLs are refused; on one machine give the absolute path of a folder instead.',
    'ssh:': 'Use the https address of the repository.',
    'git:': 'Use the https address of the repository.',
  }
  throw new AppError('url_scheme', {
    detail: `code_url starts with ${scheme}, which is not allowed. ${hint[url.protocol] ?? FORMS}`,
  })
}

/** Names that only ever lead inside: cloud metadata, Kubernetes, local networks. */
const INTERNAL_SUFFIXES = ['localhost', 'local', 'internal', 'intranet', 'lan', 'svc', 'home.arpa', 'metadata.goog']

function checkHost(host: string, policy: FetchPolicy): void {
  const refuse = (why: string): AppError =>
    new AppError('url_host', { detail: `code_url leads to ${host.slice(0, 255)}, ${why}` })
  const literal = host.replace(/^\[|\]$/g, '')
  if (ipaddr.isValid(literal)) {
    if (!isPublicAddress(literal)) throw refuse('which is not a public address. Use a public https address.')
  } else {
    if (!host.includes('.') || INTERNAL_SUFFIXES.some((s) => host === s || host.endsWith(`.${s}`)))
      throw refuse('which is a name of an internal network. Use a public https address.')
    if (
      host.length > 253 ||
      host.split('.').some((label) => label === '' || label.length > 63 || label.startsWith('-'))
    )
      throw refuse('which is not a host name.')
  }
  if (!isListed(host, policy.codeHosts))
    throw refuse(`which is not in CLISCALE_CODE_HOSTS. Use one of: ${policy.codeHosts.slice(0, 20).join(', ')}.`)
}

function isListed(host: string, codeHosts: readonly string[]): boolean {
  if (codeHosts.length === 0) return true
  // Tree URLs of github.com are downloaded from its codeload host.
  const names = host === 'codeload.github.com' ? [host, 'github.com'] : [host]
  return codeHosts.some((entry) => {
    const listed = entry.toLowerCase()
    return names.some((name) => (listed.startsWith('.') ? name.endsWith(listed) : name === listed))
  })
}

const ARCHIVE_SUFFIXES = [
  { suffix: '.zip', kind: 'zip' },
  { suffix: '.tar.gz', kind: 'tar-gz' },
  { suffix: '.tgz', kind: 'tar-gz' },
  { suffix: '.git', kind: 'git' },
] as const

function classify(url: URL, policy: FetchPolicy): CodeUrl {
  url.hash = ''
  url.hostname = bareHost(url)
  if (url.hostname === 'www.github.com') url.hostname = 'github.com'
  const segments = decodeSegments(url)
  const last = segments.at(-1)?.toLowerCase() ?? ''
  if (url.hostname === 'github.com' || isUnsafeHost(url, policy)) {
    const tree = asTree(url, segments)
    if (tree) return tree
  }
  const known =
    ARCHIVE_SUFFIXES.find((row) => last.endsWith(row.suffix) && last !== row.suffix)?.kind ??
    codeloadKind(url, segments)
  if (known === 'git') return asGit(url)
  if (known) return { kind: known, url: url.href, display: displayUrl(url) }
  if (url.hostname === 'github.com') {
    if (segments.length === 2) return asGit(new URL(`${url.origin}/${segments.join('/')}.git`))
    throw invalid(`is a page of GitHub that holds no code to fetch. ${FORMS}`)
  }
  if (/\.(tar|tar\.(bz2|xz|zst)|tbz2?|txz|7z|rar)$/.test(last))
    throw invalid('names an archive of a kind that is not supported. Pack it as .zip or .tar.gz.')
  throw invalid(`names neither an archive nor a repository. ${FORMS}`)
}

function asTree(url: URL, segments: readonly string[]): CodeUrl | undefined {
  const [owner, repo, word, ...rest] = segments
  if (word !== 'tree' || owner === undefined || repo === undefined) return undefined
  if (rest.length === 0) throw invalid('names no branch, tag or commit after /tree/.')
  if (!/^[\w.-]{1,100}$/.test(owner) || !/^[\w.-]{1,100}$/.test(repo))
    throw invalid('has an owner or repository name that GitHub does not allow.')
  url.search = ''
  return {
    kind: 'github-tree',
    url: url.href,
    display: displayUrl(url),
    origin: url.origin,
    owner,
    repo: repo.replace(/\.git$/i, ''),
    refAndPath: rest.join('/'),
  }
}

function asGit(url: URL): CodeUrl {
  if (url.search !== '')
    throw invalid('is a repository with a query, which git does not know. Remove everything from "?" on.')
  return { kind: 'git', url: url.href, display: displayUrl(url) }
}

/** `https://codeload.github.com/owner/repo/{tar.gz,zip}/ref`: where GitHub's own archive links lead. */
function codeloadKind(url: URL, segments: readonly string[]): 'zip' | 'tar-gz' | undefined {
  if (url.hostname !== 'codeload.github.com' || segments.length < 4) return undefined
  if (segments[2] === 'tar.gz' || segments[2] === 'legacy.tar.gz') return 'tar-gz'
  return segments[2] === 'zip' || segments[2] === 'legacy.zip' ? 'zip' : undefined
}

/** Path segments, decoded and without empty ones; nothing in them can climb or hide a character. */
function decodeSegments(url: URL): string[] {
  let decoded: string
  try {
    decoded = decodeURIComponent(url.pathname)
  } catch {
    throw invalid('has a percent sign in its path that encodes nothing. Write it as %25.')
  }
  if (/[\0-\x1f\x7f]/.test(decoded)) throw invalid('has a control character in its path.')
  const segments = decoded.split('/').filter((segment) => segment !== '')
  if (segments.some((segment) => segment === '..' || segment === '.'))
    throw invalid('has "." or ".." as a part of its path. Write the path without them.')
  return segments
}
