/** Git repositories: the git binary fetches through our proxy, our policy reads the tree, then it is checked out. */
import { lstat, mkdir, readFile, symlink, unlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import tls from 'node:tls'
import { SessionFailure } from '../failure.ts'
import type { DownloadOptions } from './download.ts'
import { createEntryPlan, createLinkCheck } from './entry-plan.ts'
import { startGitProxy } from './git-proxy.ts'
import { explainGit, runGit } from './git-process.ts'
import { printable } from './refusal.ts'

/** Environment that reaches git: where the binary is, and which certificates are trusted. */
const PASSED_ON = ['PATH', 'GIT_SSL_CAINFO', 'GIT_SSL_CAPATH', 'SSL_CERT_FILE', 'SSL_CERT_DIR', 'CURL_CA_BUNDLE']

export interface CloneOptions extends DownloadOptions {
  readonly env: Readonly<Record<string, string | undefined>>
  /** A folder that exists, for files of ours; removed by the caller. */
  readonly scratch: string
}

/**
 * Clones the default branch of a repository, its newest commit only, into an empty folder. The repository's own
 * settings, hooks, filters and submodules have no effect. Links that lead out of it become plain files.
 * @returns notes for the person who started the session
 * @throws SessionFailure `auth_required`, `archive_refused`, `code_host_refused`, `code_too_large`, `download_failed`
 */
export async function cloneRepository(url: string, target: string, options: CloneOptions): Promise<string[]> {
  await using proxy = await startGitProxy(options)
  const env = await gitEnvironment(url, proxy.url, options)
  const run = { env, signal: options.signal, cwd: target }
  const flags = ['--depth=1', '--single-branch', '--no-tags', '--no-recurse-submodules', '--no-checkout', '--template=']
  const clone = await runGit(['clone', '--quiet', ...flags, '--', url, target], run)
  if (clone.code !== 0) throw proxy.failure ?? explainGit(clone.stderr, url)
  const tree = await listTree(run, options)
  const checkout = await runGit(['checkout', '--quiet', '--force', 'HEAD', '--'], run)
  if (checkout.code !== 0) throw explainGit(checkout.stderr, url)
  const notes = await restoreLinks(target, tree.links)
  if (tree.submodules > 0) notes.push(`submodules are not fetched; ${tree.submodules} listed`)
  const pointers = await countLfsPointers(target, tree.small)
  if (pointers > 0) notes.push(`${pointers} file(s) are Git LFS pointers; their content is not fetched`)
  return notes
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

interface ListedTree {
  readonly links: readonly string[]
  readonly submodules: number
  /** Files of a size that a Git LFS pointer has. */
  readonly small: readonly string[]
}

/** Applies the rules for archives to the commit before any of it becomes a file. */
async function listTree(
  run: { env: Record<string, string>; signal: AbortSignal; cwd: string },
  options: CloneOptions,
): Promise<ListedTree> {
  const plan = createEntryPlan(options.limits)
  const links: string[] = []
  const small: string[] = []
  let submodules = 0
  const listed = await runGit(['ls-tree', '-r', '-t', '-l', '-z', '--full-tree', 'HEAD'], {
    ...run,
    onRecord(record) {
      const [, mode = '', size = '', name = ''] = /^(\d+) \w+ [0-9a-f]+ +(\d+|-)\t(.*)$/s.exec(record) ?? []
      if (mode === '160000') submodules += 1
      if (mode === '120000') links.push(name)
      const isFolder = mode === '040000' || mode === '160000'
      if (!isFolder && mode !== '120000' && Number(size) > 100 && Number(size) < 1024) small.push(name)
      plan.add({ name, kind: isFolder ? 'folder' : 'file', size: isFolder ? 0 : Number(size), executable: false })
    },
  })
  if (listed.code !== 0)
    throw new SessionFailure(
      'ref_not_found',
      'There is no git repository at code_url, or its default branch has no commit.',
    )
  plan.finish({ root: () => '', outsideLinks: 'refuse' })
  return { links, submodules, small }
}

/**
 * git wrote every link as a file that holds its target (core.symlinks=false), so that nothing is ever written through
 * a link. Those that stay inside become links now.
 */
async function restoreLinks(target: string, paths: readonly string[]): Promise<string[]> {
  const targets = new Map<string, string>()
  for (const relative of paths) {
    const text = await readFile(path.join(target, relative), 'utf8')
    if (text.length > 0 && text.length <= 1024 && !text.includes('\0')) targets.set(relative, text)
  }
  const leadsOut = createLinkCheck(targets)
  const plain = paths.filter((relative) => {
    const to = targets.get(relative)
    return to === undefined || leadsOut({ name: relative, path: relative, target: to })
  })
  const kept = new Set(plain)
  for (const [relative, to] of targets) {
    if (kept.has(relative)) continue
    await unlink(path.join(target, relative))
    await symlink(to, path.join(target, relative))
  }
  if (plain.length === 0) return []
  const some = plain.slice(0, 3).map(printable).join(', ')
  return [`${plain.length} symbolic link(s) that lead out of the repository are plain files here: ${some}`]
}

async function countLfsPointers(target: string, small: readonly string[]): Promise<number> {
  let count = 0
  for (const relative of small.slice(0, 2000)) {
    const file = path.join(target, relative)
    if (!(await lstat(file)).isFile()) continue
    if ((await readFile(file, 'utf8')).startsWith('version https://git-lfs.github.com/spec/')) count += 1
  }
  return count
}
