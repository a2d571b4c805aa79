/** Gets a session's code: download, checksum, rules, unpacked files. The one entry point of this folder. */
import { type FetchPolicy, isAppError, type Stage } from '@cliscale/contract'
import { type CodeUrl, parseCodeUrl } from '@cliscale/contract/code-url'
import { isSessionFailure, SessionFailure } from '../failure.ts'
import { unpackArchive } from './archive.ts'
import { type Resolve, systemResolve } from './dial.ts'
import { download, type DownloadOptions } from './download.ts'
import { singleTopFolder } from './entry-plan.ts'
import { copyFolder } from './folder.ts'
import { refNotFound } from './git-refs.ts'
import { cloneRepository } from './git.ts'
import { resolveTree, tarballUrl, treeRoot, type TreeUrl } from './github.ts'
import { DEFAULT_LIMITS, type FetchLimits } from './limits.ts'
import { printable } from './refusal.ts'
import { openStaging, type Staging } from './staging.ts'

export interface FetchCodeOptions {
  readonly url: string
  /** SHA-256 of the bytes behind an archive or tree URL, in hexadecimal; null: not checked. */
  readonly checksumSha256: string | null
  readonly policy: FetchPolicy
  /** Becomes the code and nothing else: what was in it before is removed. */
  readonly targetDir: string
  readonly signal: AbortSignal
  readonly onStage: (stage: Stage) => void
}

/** What a test, or an operator's setting, may replace. */
export interface FetchDeps {
  readonly limits?: Partial<FetchLimits>
  readonly resolve?: Resolve
  /** Certificates to trust (PEM) instead of the built-in ones and NODE_EXTRA_CA_CERTS. */
  readonly ca?: string
  /** Environment to take git's PATH and trusted certificates from; that of this process when absent. */
  readonly env?: Readonly<Record<string, string | undefined>>
}

/**
 * Puts the code behind a `code_url` into a folder, whole or not at all: until all of it is there and every rule is
 * kept, the folder stays empty.
 * @returns notes for the person who started the session, without secrets
 * @throws SessionFailure with a reason of contract/src/session.ts; the signal's reason when it was aborted
 */
export async function fetchCode(options: FetchCodeOptions, deps: FetchDeps = {}): Promise<{ notes: string[] }> {
  const limits = { ...DEFAULT_LIMITS, ...deps.limits }
  const deadline = AbortSignal.timeout(limits.totalMs)
  const signal = AbortSignal.any([options.signal, deadline])
  try {
    options.onStage('fetching_code')
    const code = readUrl(options)
    await using staging = await openStaging(options.targetDir)
    const env = deps.env ?? process.env
    const notes = await fetchInto(staging, code, options, env, {
      policy: options.policy,
      limits,
      signal,
      resolve: deps.resolve ?? systemResolve,
      ...(deps.ca === undefined ? {} : { ca: deps.ca }),
    })
    signal.throwIfAborted()
    await staging.moveToTarget(staging.tree)
    return { notes }
  } catch (error) {
    if (options.signal.aborted) throw options.signal.reason
    if (deadline.aborted)
      throw new SessionFailure(
        'download_timeout',
        `The code was not there after ${limits.totalMs / 1000} s. Use a smaller archive.`,
      )
    throw explain(error)
  }
}

function readUrl(options: FetchCodeOptions): CodeUrl {
  let code: CodeUrl
  try {
    code = parseCodeUrl(options.url, options.policy)
  } catch (error) {
    if (!isAppError(error)) throw error
    throw new SessionFailure(error.code === 'url_host' ? 'code_host_refused' : 'bad_code_url', error.detail)
  }
  if (options.checksumSha256 !== null && (code.kind === 'git' || code.kind === 'folder'))
    throw new SessionFailure(
      'bad_code_url',
      'code_checksum_sha256 is for archives and GitHub tree URLs; a repository or a folder is not one file of bytes. Remove it or use an archive.',
    )
  return code
}

async function fetchInto(
  staging: Staging,
  code: CodeUrl,
  options: FetchCodeOptions,
  env: NonNullable<FetchDeps['env']>,
  context: DownloadOptions,
): Promise<string[]> {
  switch (code.kind) {
    case 'folder':
      return copyFolder(code.path, staging.tree, context)
    case 'zip':
    case 'tar-gz':
      return fetchArchive(staging, code.url, options, context)
    case 'github-tree':
      return fetchTree(staging, code, options, context)
    case 'git':
      return cloneRepository(code.url, staging.tree, { ...context, env, scratch: staging.scratch })
  }
}

async function fetchTree(
  staging: Staging,
  tree: TreeUrl,
  options: FetchCodeOptions,
  context: DownloadOptions,
): Promise<string[]> {
  const found = await resolveTree(tree, context)
  const noTarball = (status: number): SessionFailure | undefined =>
    status === 404 || status === 422 ? refNotFound(found.shortRef) : undefined
  const url = tarballUrl(tree, found.ref).href
  const { contentType } = await fetchVerified(staging, url, options, { ...context, onStatus: noTarball })
  return unpackArchive(staging.download, contentType, staging.tree, {
    ...context,
    outsideLinks: 'omit',
    root: (paths) => treeRoot(paths, found),
  })
}

async function fetchArchive(
  staging: Staging,
  url: string,
  options: FetchCodeOptions,
  context: DownloadOptions,
): Promise<string[]> {
  const { contentType } = await fetchVerified(staging, url, options, context)
  let top = ''
  const notes = await unpackArchive(staging.download, contentType, staging.tree, {
    ...context,
    outsideLinks: 'refuse',
    root: (paths) => (top = singleTopFolder(paths)),
  })
  return top === ''
    ? notes
    : [...notes, `the archive holds one folder, ${printable(top)}: its content is the workspace`]
}

/** Downloads and compares the SHA-256 before anything looks into the bytes. */
async function fetchVerified(
  staging: Staging,
  url: string,
  options: FetchCodeOptions,
  context: DownloadOptions,
): Promise<{ contentType: string }> {
  const got = await download(new URL(url), staging.download, context)
  options.onStage('verifying')
  const expected = options.checksumSha256?.toLowerCase()
  if (expected !== undefined && expected !== got.sha256)
    throw new SessionFailure(
      'checksum_mismatch',
      `Expected SHA-256 ${expected}, but the ${got.bytes} bytes have ${got.sha256}.`,
    )
  return got
}

function explain(error: unknown): unknown {
  if (isSessionFailure(error)) return error
  const code = (error as NodeJS.ErrnoException).code ?? ''
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new SessionFailure('disk_full', 'There is no room left for the code on the disk of the session.', {
      cause: error,
    })
  return new SessionFailure('internal', `The code could not be stored${code === '' ? '' : ` (${code})`}.`, {
    cause: error,
  })
}
