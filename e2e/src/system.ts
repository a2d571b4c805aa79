import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isFinal, type SessionStatus } from '@cliscale/contract'

const ROOT = path.resolve(import.meta.dirname, '../..')

/** The public API as its users see it. */
export interface Api {
  /** Where the controller's calls are. */
  readonly base: string
  api(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>
  /** Creates a session and fails loudly when that is refused. */
  create(request: Record<string, unknown>): Promise<Created>
  /** Waits until a session runs. */
  running(sessionId: string, withinMs?: number): Promise<SessionView>
  /** Waits until a session has a final status. */
  ended(sessionId: string, withinMs?: number): Promise<SessionView>
  logs(sessionId: string): Promise<Buffer>
  token(sessionId: string, mode?: 'rw' | 'ro'): Promise<Created>
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

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Record<string, unknown>
}
export interface Created {
  readonly sessionId: string
  readonly sessionJWT: string
  readonly terminalUrl: string
  readonly wsUrl: string
}
export interface SessionView {
  readonly sessionId: string
  readonly status: SessionStatus
  readonly reason: string | null
  readonly detail: string | null
  readonly exitCode: number | null
  readonly signal: string | null
  readonly startedAt: string | null
}

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
  const call = async (
    method: string,
    at: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer> => {
    const response = await fetch(base + at, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    })
    const { status, headers: answered } = response
    const text = await response.text()
    // A proxy in front answers in its own words where no part of ours can.
    const isJson = /[/+]json\b/.test(answered.get('content-type') ?? '')
    return {
      status,
      headers: answered,
      body: isJson && text !== '' ? (JSON.parse(text) as Record<string, unknown>) : {},
    }
  }
  const must = async (method: string, at: string, body: unknown): Promise<Created> => {
    const answer = await call(method, at, body)
    if (answer.status >= 300) throw new Error(`${method} ${at}: ${answer.status} ${JSON.stringify(answer.body)}`)
    return answer.body as unknown as Created
  }
  return {
    base,
    api: call,
    create: (request) => must('POST', '/api/sessions', request),
    token: async (id, mode = 'rw') => ({
      ...(await must('POST', `/api/sessions/${id}/token`, { mode })),
      sessionId: id,
    }),
    running: (id, withinMs = 90_000) => waitFor(call, id, 'running', ({ status }) => status === 'running', withinMs),
    ended: (id, withinMs = 60_000) => waitFor(call, id, 'over', ({ status }) => isFinal(status), withinMs),
    logs: async (id) => {
      const response = await fetch(`${base}/api/sessions/${id}/logs`, { headers: { authorization: `Bearer ${key}` } })
      if (!response.ok) throw new Error(`logs: ${response.status} ${await response.text()}`)
      return Buffer.from(await response.arrayBuffer())
    },
  }
}

async function waitFor(
  call: Api['api'],
  id: string,
  what: string,
  holds: (view: SessionView) => boolean,
  withinMs: number,
): Promise<SessionView> {
  const deadline = Date.now() + withinMs
  let last: unknown
  while (Date.now() < deadline) {
    // A restart of the server under test may refuse a call: ask again until the deadline.
    const answer = await call('GET', `/api/sessions/${id}`).catch((error: unknown) => ({
      status: 0,
      body: { error: String(error) },
    }))
    last = answer.body
    const view = answer.body as unknown as SessionView
    if (answer.status === 200 && holds(view)) return view
    await sleep(100)
  }
  throw new Error(`session ${id} is not ${what} after ${withinMs} ms: ${JSON.stringify(last)}`)
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
