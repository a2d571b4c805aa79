/** Loopback servers and folders that clean up after themselves. */
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { lstat, mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import type { FetchPolicy } from '@cliscale/contract'
import { fetchCode, type FetchDeps } from '../../src/host/fetch/fetch-code.ts'
import type { SessionFailure } from '../../src/host/failure.ts'

export interface TestServer extends AsyncDisposable {
  readonly origin: string
  readonly port: number
  /** Request lines so far. */
  readonly requests: string[]
  readonly seen: http.IncomingMessage[]
}

export async function startServer(handler: http.RequestListener): Promise<TestServer> {
  const requests: string[] = []
  const seen: http.IncomingMessage[] = []
  const server = http.createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`)
    seen.push(request)
    handler(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    origin: `http://127.0.0.1:${port}`,
    port,
    requests,
    seen,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

export interface TestFolder extends AsyncDisposable {
  readonly path: string
}

export async function createFolder(): Promise<TestFolder> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'cliscale-fetch-'))
  return { path: folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) }
}

/** Everything below a folder: path → content, `-> target` for links, `/` for folders. */
export async function readTree(folder: string, below = ''): Promise<Record<string, string>> {
  const tree: Record<string, string> = {}
  for (const name of (await readdir(path.join(folder, below))).sort()) {
    const relative = path.posix.join(below, name)
    const stat = await lstat(path.join(folder, relative))
    if (stat.isDirectory()) Object.assign(tree, { [relative]: '/' }, await readTree(folder, relative))
    else if (stat.isSymbolicLink()) tree[relative] = `-> ${await readlink(path.join(folder, relative))}`
    else tree[relative] = (await readFile(path.join(folder, relative))).toString()
  }
  return tree
}

export interface Outcome {
  readonly tree: Record<string, string>
  /** Names in the folder that holds the workspace: only the workspace may be left. */
  readonly beside: string[]
  readonly notes: readonly string[]
  readonly stages: readonly string[]
  readonly failure: SessionFailure | undefined
}

export interface FetchTestOptions {
  readonly checksum?: string
  readonly policy?: Partial<FetchPolicy>
  readonly deps?: FetchDeps
  readonly signal?: AbortSignal
}

/** Runs fetchCode into a fresh workspace and returns all that is visible of it. */
export async function runFetch(url: string, options: FetchTestOptions = {}): Promise<Outcome> {
  await using parent = await createFolder()
  const targetDir = path.join(parent.path, 'workspace')
  const stages: string[] = []
  let failure: SessionFailure | undefined
  let notes: readonly string[] = []
  try {
    const result = await fetchCode(
      {
        url,
        checksumSha256: options.checksum ?? null,
        policy: { codeHosts: [], unsafeHosts: [], localFolders: false, ...options.policy },
        targetDir,
        signal: options.signal ?? new AbortController().signal,
        onStage: (stage) => stages.push(stage),
      },
      options.deps,
    )
    notes = result.notes
  } catch (error) {
    if ((error as Error).name !== 'SessionFailure') throw error
    failure = error as SessionFailure
  }
  const beside = await readdir(parent.path)
  const tree = beside.includes('workspace') ? await readTree(targetDir) : {}
  return { tree, beside, notes, stages, failure }
}

/** Serves one body at any path and fetches it from there. */
export async function fetchBytes(
  body: Buffer,
  options: FetchTestOptions & { path?: string; contentType?: string; headers?: http.OutgoingHttpHeaders } = {},
): Promise<Outcome> {
  await using server = await startServer((_request, response) => {
    response.writeHead(200, {
      'content-type': options.contentType ?? 'application/octet-stream',
      ...options.headers,
    })
    response.end(body)
  })
  return await runFetch(`${server.origin}${options.path ?? '/code.tar.gz'}`, {
    ...options,
    policy: { unsafeHosts: [`127.0.0.1:${server.port}`], ...options.policy },
  })
}
