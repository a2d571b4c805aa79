import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import * as client from '@cliscale/client'
import { isFinal, type SessionView, type TokenResponse } from '@cliscale/contract'
import type { Mode } from '@cliscale/contract/terminal'

const ROOT = path.resolve(import.meta.dirname, '../..')

/** The public API as its users see it, and what tests wait for. */
export interface Api extends client.Api {
  /** Where the controller's calls are. */
  readonly base: string
  /** Waits until a session runs. */
  running(sessionId: string, withinMs?: number): Promise<SessionView>
  /** Waits until a session has a final status. */
  ended(sessionId: string, withinMs?: number): Promise<SessionView>
  logs(sessionId: string): Promise<Buffer>
  token(sessionId: string, mode?: Mode): Promise<Created>
}

/** A whole CLI Scale on one machine, in a data folder and on a port of its own. */
export interface System extends Api, AsyncDisposable {
  readonly dataDir: string
  readonly pid: number
  /** All that `cliscale up` printed so far. */
  output(): string
  /** The server process under the supervisor. */
  serverPid(): Promise<number>
}

export type Created = TokenResponse & { readonly sessionId: string }

/** Starts `cliscale up` and waits until it is ready to serve. */
export async function startSystem(settings: Record<string, string> = {}): Promise<System> {
  const dataDir = await mkdtemp(path.join(os.tmpdir(), 'cs-e2e-'))
  const port = await freePort()
  const env: NodeJS.ProcessEnv = {
    PATH: process.env['PATH'],
    HOME: process.env['HOME'],
    CLISCALE_PORT: String(port),
    CLISCALE_DATA_DIR: path.join(dataDir, 'data'),
    CLISCALE_API_KEY: 'cs_key_e2e_0123456789abcdef',
    CLISCALE_SESSIONS_PER_MINUTE: '100000',
    ...settings,
  }
  const child = spawn(process.execPath, [path.join(ROOT, 'cli/dist/main.js'), 'up'], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let printed = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (printed += chunk.toString()))
  const base = `http://127.0.0.1:${port}`
  await untilReady(child, base, () => printed)
  return makeSystem({ child, base, dataDir, key: env['CLISCALE_API_KEY'] ?? '', output: () => printed })
}

async function untilReady(child: ChildProcess, base: string, output: () => string): Promise<void> {
  const deadline = Date.now() + 60_000
  while (Date.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`cliscale up ended with ${child.exitCode}:\n${output()}`)
    const ok = await fetch(`${base}/readyz`, { signal: AbortSignal.timeout(1000) }).then(
      (r) => r.ok,
      () => false,
    )
    if (ok) return
    await sleep(100)
  }
  child.kill('SIGKILL')
  throw new Error(`cliscale up was not ready within 60 s:\n${output()}`)
}

function makeSystem(parts: {
  child: ChildProcess
  base: string
  dataDir: string
  key: string
  output: () => string
}): System {
  const { child } = parts
  return {
    ...createApi(parts.base, parts.key),
    dataDir: parts.dataDir,
    pid: child.pid ?? 0,
    output: parts.output,
    serverPid: () => childOf(child.pid ?? 0, 'server'),
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null && child.signalCode === null) {
        const gone = once(child, 'exit')
        child.kill('SIGTERM')
        await gone
      }
      await rm(parts.dataDir, { recursive: true, force: true })
    },
  }
}

/** The public API behind an address, called with a key. */
export function createApi(base: string, key: string): Api {
  const api = client.createApi({ base, key })
  return {
    ...api,
    base,
    token: async (id, mode) => ({ ...(await api.token(id, mode)), sessionId: id }),
    running: (id, withinMs = 90_000) => waitFor(api, id, 'running', ({ status }) => status === 'running', withinMs),
    ended: (id, withinMs = 60_000) => waitFor(api, id, 'over', ({ status }) => isFinal(status), withinMs),
    logs: async (id) => Buffer.from(await api.logs(id)),
  }
}

async function waitFor(
  api: client.Api,
  id: string,
  what: string,
  holds: (view: SessionView) => boolean,
  withinMs: number,
): Promise<SessionView> {
  const deadline = Date.now() + withinMs
  let last: unknown
  while (Date.now() < deadline) {
    // A restart of the server under test may refuse a call: ask again until the deadline.
    const view = await api.get(id).catch((error: unknown) => void (last = error))
    if (view && holds(view)) return view
    last = view ?? last
    await sleep(100)
  }
  const seen = last instanceof Error ? last.message : JSON.stringify(last)
  throw new Error(`session ${id} is not ${what} after ${withinMs} ms: ${seen}`)
}

/** Looks again and again until something holds. Throws with `what` when it does not within `limitMs`. */
export async function until(
  what: string | (() => string),
  holds: () => boolean | Promise<boolean>,
  limitMs = 5_000,
): Promise<void> {
  const end = Date.now() + limitMs
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`not within ${limitMs} ms: ${typeof what === 'string' ? what : what()}`)
    await sleep(20)
  }
}

/** The pid of the child of `parent` whose command line holds a word. Linux only, as the faults that need it are. */
export async function childOf(parent: number, word: string): Promise<number> {
  for (const pid of await pids()) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
    const ppid = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    if (ppid === parent && command.includes(word)) return pid
  }
  throw new Error(`process ${parent} has no child with "${word}" in its command line`)
}

/** All processes whose command line holds a word. */
export async function processesWith(word: string): Promise<number[]> {
  const found: number[] = []
  for (const pid of await pids()) {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    if (command.includes(word) && pid !== process.pid) found.push(pid)
  }
  return found
}

async function pids(): Promise<number[]> {
  const { readdir } = await import('node:fs/promises')
  return (await readdir('/proc')).map(Number).filter((n) => Number.isInteger(n))
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
