/** Whether a URL may be fetched, as far as its text tells. Pure; addresses are checked when they are dialled. */
import ipaddr from 'ipaddr.js'
import { isPublicAddress } from './address.ts'
import { AppError } from './errors.ts'
import type { FetchPolicy } from './internal.ts'

/** What `code_url` may be, for messages. */
export const FORMS =
  'Use the address of a repository (https://github.com/owner/repo, or any that ends in .git, with #branch, #tag or #commit), a tree URL (https://github.com/owner/repo/tree/ref/folder), or a .zip, .tar.gz, .tgz or .tar.'

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
      detail: 'code_url contains a user name or password before the host. Remove it: credentials in URLs are refused.',
    })
  if (unsafe) return
  checkHost(bareHost(url), policy)
  const port = portOf(url)
  if (port !== 443 && port < 1024)
    throw new AppError('url_port', { detail: `code_url has the port ${port}. Use 443, or a port from 1024 to 65535.` })
}

function checkScheme(url: URL, unsafe: boolean): void {
  if (url.protocol === 'https:' || (unsafe && url.protocol === 'http:')) return
  const scheme = url.protocol.slice(0, 20)
  const hint: Record<string, string> = {
    'http:':
      'Write https:// instead. An operator can allow a host over http with CLISCALE_FETCH_UNSAFE_HOSTS=host:port.',
    'file:': 'file: URLs are refused; on one machine give the absolute path of a folder instead.',
    'ssh:': 'Use the https address of the repository.',
    'git+ssh:': 'Use the https address of the repository.',
    'git:': 'Use the https address of the repository.',
    'github:': 'Write https://github.com/owner/repo#ref.',
    'gitlab:': 'Write https://gitlab.com/owner/repo#ref.',
    'bitbucket:': 'Write https://bitbucket.org/owner/repo#ref.',
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
  // Tarballs of github.com come from its codeload host, also by way of its API.
  const names = ['codeload.github.com', 'api.github.com'].includes(host) ? [host, 'github.com'] : [host]
  return codeHosts.some((entry) => {
    const listed = entry.toLowerCase()
    return names.some((name) => (listed.startsWith('.') ? name.endsWith(listed) : name === listed))
  })
}
