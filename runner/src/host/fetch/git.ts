/** Git repositories: the git binary fetches through our proxy, our policy reads the tree, then it is checked out. */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import tls from 'node:tls'
import type { CodeUrl } from '@cliscale/contract/code-url'
import type { DownloadOptions } from './download.ts'
import type { NameRules } from './entry-plan.ts'
import { startGitProxy } from './git-proxy.ts'
import { explainGit, type GitRun, runGit } from './git-process.ts'
import { findRef, refNotFound, splitRef, wholeCommit } from './git-refs.ts'
import { finishTree, listTree } from './git-tree.ts'
import { listRefs } from './github.ts'

/** Environment that reaches git: where the binary is, and which certificates are trusted. */
const PASSED_ON = ['PATH', 'GIT_SSL_CAINFO', 'GIT_SSL_CAPATH', 'SSL_CERT_FILE', 'SSL_CERT_DIR', 'CURL_CA_BUNDLE']

export interface CloneOptions extends DownloadOptions {
  readonly env: Readonly<Record<string, string | undefined>>
  /** A folder that exists, for files of ours; removed by the caller. */
  readonly scratch: string
  readonly names: NameRules
}

export type GitUrl = Extract<CodeUrl, { kind: 'git' }>

export interface Cloned {
  /** Folder below the target that is the code; '' for all of it. */
  readonly folder: string
  /** For the person who started the session. */
  readonly notes: readonly string[]
}

/** What of a repository is wanted. */
interface Wanted {
  /** Full name of a ref, or the whole id of a commit; undefined: the default branch. */
  readonly ref: string | undefined
  readonly shortRef: string
  readonly folder: string
}

/**
 * Clones one commit of a repository into an empty folder. The repository's own settings, hooks, filters and submodules
 * have no effect. Links that lead out of it become plain files.
 * @throws SessionFailure `auth_required`, `archive_refused`, `code_host_refused`, `code_too_large`, `download_failed`,
 * `ref_not_found`, `folder_not_found`
 */
export async function cloneRepository(code: GitUrl, target: string, options: CloneOptions): Promise<Cloned> {
  const wanted = await resolvePlace(code, options)
  await using proxy = await startGitProxy(options)
  const env = await gitEnvironment(code.url, proxy.url, options)
  const run = { env, signal: options.signal, cwd: target }
  for (const args of fetchSteps(code.url, target, wanted)) {
    const { code: exit, stderr } = await runGit(args, run)
    if (exit === 0) continue
    const failure = proxy.failure ?? explainGit(stderr, code.url)
    throw failure.reason === 'ref_not_found' ? refNotFound(wanted.shortRef) : failure
  }
  const tree = await listTree(run, wanted, options)
  // Paths are literal (GIT_LITERAL_PATHSPECS), so that none of them is a pattern.
  const which = wanted.folder === '' ? ['--force', 'HEAD', '--'] : ['HEAD', '--', wanted.folder]
  const checkout = await runGit(['checkout', '--quiet', ...which], run)
  if (checkout.code !== 0) throw explainGit(checkout.stderr, code.url)
  const notes = await finishTree(path.join(target, wanted.folder), tree)
  if (wanted.folder === '' && (await hasParent(run))) notes.push(SHALLOW)
  return { folder: wanted.folder, notes }
}

const SHALLOW =
  'only this commit was fetched, without its history; git fetch --unshallow --tags fetches the rest, and then git describe works'

/** Whether the commit has a history, which a clone of depth 1 does not show otherwise. */
async function hasParent(run: GitRun): Promise<boolean> {
  let commit = ''
  await runGit(['cat-file', 'commit', 'HEAD'], { ...run, onRecord: (text) => (commit += text) })
  return /^parent /m.test(commit.split('\n\n')[0] ?? '')
}

async function resolvePlace({ url, place }: GitUrl, options: DownloadOptions): Promise<Wanted> {
  if (place.kind === 'ref') {
    const { ref, folder } = place
    if (ref === null) return { ref: undefined, shortRef: 'HEAD', folder }
    // Whole ids and refs of other kinds (refs/pull/1/head) need no list.
    const isWhole = /^([0-9a-f]{40}|[0-9a-f]{64})$/i.test(ref)
    if (isWhole) return { ref: ref.toLowerCase(), shortRef: ref, folder }
    if (/^refs\/(?!heads\/|tags\/)/.test(ref)) return { ref, shortRef: ref, folder }
  }
  const refs = await listRefs(url, url, options)
  const found =
    place.kind === 'ref'
      ? { ref: findRef(place.ref ?? '', refs), shortRef: place.ref ?? '', folder: place.folder }
      : splitRef(place.refAndPath, refs, place.among)
  return found.ref.startsWith('refs/') ? found : { ...found, ref: wholeCommit(found.ref, refs) }
}

/** A branch is checked out by its name; a tag or commit is a detached HEAD, as with `git checkout`. */
function fetchSteps(url: string, target: string, { ref }: Wanted): string[][] {
  const flags = ['--quiet', '--depth=1', '--no-recurse-submodules']
  if (ref === undefined || ref.startsWith('refs/heads/')) {
    const branch = ref === undefined ? [] : [`--branch=${ref.slice('refs/heads/'.length)}`]
    return [['clone', ...flags, '--single-branch', '--no-checkout', '--template=', ...branch, '--', url, target]]
  }
  const refspec = ref.startsWith('refs/tags/') ? `+${ref}:${ref}` : ref
  return [
    ['init', '--quiet', '--template=', '--', target],
    ['remote', 'add', '--', 'origin', url],
    ['fetch', ...flags, '--', 'origin', refspec],
    ['update-ref', '--no-deref', 'HEAD', 'FETCH_HEAD^{commit}'],
  ]
}

async function gitEnvironment(url: string, proxyUrl: string, options: CloneOptions): Promise<Record<string, string>> {
  const home = path.join(options.scratch, 'home')
  await mkdir(home, { recursive: true })
  const stallSeconds = Math.ceil(options.limits.stallMs / 1000)
  const config = {
    'http.proxy': proxyUrl,
    'http.proxyAuthMethod': 'basic',
    'http.lowSpeedLimit': String(Math.ceil(options.limits.stallBytes / stallSeconds)),
    'http.lowSpeedTime': String(stallSeconds),
    'credential.helper': '',
    'core.askPass': '',
    'core.hooksPath': '/dev/null',
    'core.fsmonitor': 'false',
    'core.symlinks': 'false',
    'core.protectHFS': 'true',
    'core.protectNTFS': 'true',
    'core.bigFileThreshold': '16m',
    'submodule.recurse': 'false',
    'gc.auto': '0',
    'advice.detachedHead': 'false',
    'init.defaultBranch': 'main',
  }
  const passed = Object.fromEntries(PASSED_ON.map((name) => [name, options.env[name]]).filter(([, value]) => value))
  return {
    ...(passed as Record<string, string>),
    ...(await trustedCertificates(options)),
    HOME: home,
    LC_ALL: 'C',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_ATTR_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_LITERAL_PATHSPECS: '1',
    GIT_ALLOW_PROTOCOL: url.startsWith('http:') ? 'http:https' : 'https',
    GIT_CONFIG_COUNT: String(Object.keys(config).length),
    ...Object.fromEntries(
      Object.entries(config).flatMap(([key, value], i) => [
        [`GIT_CONFIG_KEY_${i}`, key],
        [`GIT_CONFIG_VALUE_${i}`, value],
      ]),
    ),
  }
}

/** NODE_EXTRA_CA_CERTS adds to Node's own certificates; git knows only one file that replaces its own. */
async function trustedCertificates(options: CloneOptions): Promise<Record<string, string>> {
  const extra = options.env['NODE_EXTRA_CA_CERTS']
  if (options.ca === undefined && (!extra || options.env['GIT_SSL_CAINFO'])) return {}
  const pem = options.ca ?? [...tls.rootCertificates, await readFile(extra ?? '', 'utf8')].join('\n')
  const file = path.join(options.scratch, 'trusted.pem')
  await writeFile(file, pem)
  return { GIT_SSL_CAINFO: file }
}
