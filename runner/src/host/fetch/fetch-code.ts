/** Gets a session's code: download, checksum, rules, unpacked files. The one entry point of this folder. */
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type FetchPolicy, isAppError, type Stage } from '@cliscale/contract'
import { checksumOf, type CodeUrl, parseCodeUrl } from '@cliscale/contract/code-url'
import { isSessionFailure, SessionFailure } from '../failure.ts'
import { unpackArchive } from './archive.ts'
import { type Resolve, systemResolve } from './dial.ts'
import { download, type DownloadOptions } from './download.ts'
import { type NameRules, singleTopFolder } from './entry-plan.ts'
import { copyFolder } from './folder.ts'
import { refNotFound } from './git-refs.ts'
import { cloneRepository } from './git.ts'
import { repositoryUrl, resolveTree, tarballUrl, treeRoot, type TreeUrl } from './github.ts'
import { secondTry } from './http-errors.ts'
import { DEFAULT_LIMITS, type FetchLimits } from './limits.ts'
import { printable } from './refusal.ts'
import { openStaging, type Staging } from './staging.ts'
import { decodeTransport } from './transport-encoding.ts'

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
    const fetched = await fetchTwice(staging, code, options, env, {
      policy: options.policy,
      limits,
      signal,
      received: { bytes: 0 },
      resolve: deps.resolve ?? systemResolve,
      ...(deps.ca === undefined ? {} : { ca: deps.ca }),
    })
    signal.throwIfAborted()
    await staging.moveToTarget(path.join(staging.tree, fetched.folder))
    return { notes: [...fetched.notes] }
  } catch (error) {
    if (options.signal.aborted) throw options.signal.reason
    if (deadline.aborted)
      throw new SessionFailure(
        'download_timeout',
        `The code did not arrive within ${limits.totalMs / 1000} s. Use a smaller archive.`,
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
      'code_checksum_sha256 applies to archives and GitHub tree URLs; a repository or a folder is not a single file. Remove it or use an archive.',
    )
  const inUrl = checksumOf(code)
  if (inUrl !== null && options.checksumSha256 !== null && inUrl !== options.checksumSha256.toLowerCase())
    throw new SessionFailure(
      'bad_code_url',
      'code_checksum_sha256 differs from the SHA-256 after "#" in code_url. Keep one of them.',
    )
  return code
}

interface Fetched {
  /** Folder below the staging area's tree that is the code; '' for all of it. */
  readonly folder: string
  readonly notes: readonly string[]
}

/** Tries once more where that may go well (see secondTry); the limits are those of both together. */
async function fetchTwice(
  staging: Staging,
  code: CodeUrl,
  options: FetchCodeOptions,
  env: NonNullable<FetchDeps['env']>,
  context: DownloadOptions,
): Promise<Fetched> {
  const stages = new Set<Stage>()
  const once: FetchCodeOptions = {
    ...options,
    onStage(stage) {
      if (!stages.has(stage)) options.onStage(stage)
      stages.add(stage)
    },
  }
  try {
    return await fetchInto(staging, code, once, env, context)
  } catch (error) {
    // Bytes that have the right checksum are as they should be, however damaged the archive is.
    const isVerified = stages.has('verifying') && expectedChecksum(code, options) !== undefined
    const second = secondTry(error)
    if (second === undefined || isVerified || code.kind === 'folder') throw error
    await sleep(second.waitMs, undefined, { signal: context.signal })
    await staging.reset()
    const fetched = await fetchInto(staging, code, once, env, context)
    return { ...fetched, notes: [`${second.because}; the second attempt succeeded`, ...fetched.notes] }
  }
}

function expectedChecksum(code: CodeUrl, options: FetchCodeOptions): string | undefined {
  return options.checksumSha256?.toLowerCase() ?? checksumOf(code) ?? undefined
}

async function fetchInto(
  staging: Staging,
  code: CodeUrl,
  options: FetchCodeOptions,
  env: NonNullable<FetchDeps['env']>,
  context: DownloadOptions,
): Promise<Fetched> {
  switch (code.kind) {
    case 'folder':
      return { folder: '', notes: await copyFolder(code.path, staging.tree, context) }
    case 'archive':
      return { folder: '', notes: await fetchArchive(staging, code, options, context) }
    case 'github-tree':
      return fetchTree(staging, code, options, env, context)
    case 'git':
      return cloneRepository(code, staging.tree, { ...context, env, scratch: staging.scratch, names: namesOf(staging) })
  }
}

const namesOf = (staging: Staging): NameRules => (staging.tellsCaseApart ? 'as-git-cased' : 'as-git')

/** A tarball, or, where a host that is not GitHub has none at its address and none was vouched for, by git. */
async function fetchTree(
  staging: Staging,
  tree: TreeUrl,
  options: FetchCodeOptions,
  env: NonNullable<FetchDeps['env']>,
  context: DownloadOptions,
): Promise<Fetched> {
  const found = await resolveTree(tree, context)
  let isThere = true
  const onStatus = (status: number): SessionFailure | undefined => {
    isThere = ![404, 406, 410, 422].includes(status)
    return status === 404 || status === 422 ? refNotFound(found.shortRef) : undefined
  }
  const expected = expectedChecksum(tree, options)
  try {
    const url = tarballUrl(tree, found.ref).href
    const got = await fetchVerified(staging, url, expected, options, { ...context, onStatus })
    const notes = await unpackArchive(got.file, got.contentType, staging.tree, {
      ...context,
      outsideLinks: 'omit',
      names: namesOf(staging),
      root: (paths) => treeRoot(paths, found),
    })
    return { folder: '', notes }
  } catch (error) {
    if (isThere || expected !== undefined || tree.origin === 'https://github.com') throw error
    const { ref, folder } = found
    const code = {
      kind: 'git',
      url: repositoryUrl(tree),
      display: tree.display,
      place: { kind: 'ref', ref, folder },
    } as const
    return cloneRepository(code, staging.tree, { ...context, env, scratch: staging.scratch, names: namesOf(staging) })
  }
}

async function fetchArchive(
  staging: Staging,
  archive: Extract<CodeUrl, { kind: 'archive' }>,
  options: FetchCodeOptions,
  context: DownloadOptions,
): Promise<string[]> {
  const got = await fetchVerified(staging, archive.url, expectedChecksum(archive, options), options, context)
  let top = ''
  const notes = await unpackArchive(got.file, got.contentType, staging.tree, {
    ...context,
    outsideLinks: 'refuse',
    leaveOut: true,
    root: (paths) => (top = singleTopFolder(paths)),
  })
  return top === ''
    ? notes
    : [...notes, `the archive contains one folder, ${printable(top)}: its content is the workspace`]
}

/**
 * Downloads and compares the SHA-256 before anything looks into the bytes. Where the server put an encoding around the
 * archive, the sum may be of either: programs differ in which of them they keep.
 */
async function fetchVerified(
  staging: Staging,
  url: string,
  expected: string | undefined,
  options: FetchCodeOptions,
  context: DownloadOptions,
): Promise<{ file: string; contentType: string }> {
  const got = await download(new URL(url), staging.download, context)
  options.onStage('verifying')
  const decoded = await decodeTransport(staging.download, got.contentEncoding, context)
  if (expected !== undefined && expected !== got.sha256 && expected !== decoded?.sha256)
    throw new SessionFailure(
      'checksum_mismatch',
      `Expected SHA-256 ${expected}, but the ${got.bytes} bytes have ${got.sha256}.`,
    )
  return { file: decoded?.file ?? staging.download, contentType: got.contentType }
}

function explain(error: unknown): unknown {
  if (isSessionFailure(error)) return error
  const code = (error as NodeJS.ErrnoException).code ?? ''
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new SessionFailure('disk_full', 'There is no room left for the code on the session’s disk.', {
      cause: error,
    })
  return new SessionFailure('internal', `The code could not be stored${code === '' ? '' : ` (${code})`}.`, {
    cause: error,
  })
}
