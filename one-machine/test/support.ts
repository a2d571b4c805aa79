import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export const PROGRAM = path.resolve(import.meta.dirname, '../../cli/dist/main.js')

/** A folder that PostgreSQL's user may pass through, also when we are root. */
export async function temporaryFolder(): Promise<string> {
  const dir = await mkdtemp(path.join(os.tmpdir(), 'cs-up-'))
  await chmod(dir, 0o755)
  return dir
}

/** `cliscale up` as a process. */
export class Up implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #ended: Promise<unknown>
  #printed = ''

  /** Port 0 unless `env` says otherwise. It inherits only PATH and HOME from us. */
  constructor(env: Record<string, string>) {
    this.#child = spawn(process.execPath, [PROGRAM, 'up'], {
      env: { PATH: process.env['PATH'], HOME: process.env['HOME'], CLISCALE_PORT: '0', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#ended = once(this.#child, 'exit')
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on('data', (chunk: Buffer) => (this.#printed += chunk.toString()))
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  get output(): string {
    return this.#printed
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Waits for a text in its output, from the beginning or from `after`. */
  async printed(pattern: RegExp, { after = 0, withinMs = 40_000 } = {}): Promise<RegExpExecArray> {
    const deadline = Date.now() + withinMs
    while (Date.now() < deadline) {
      const match = pattern.exec(this.#printed.slice(after))
      if (match !== null) return match
      if (this.#child.exitCode !== null) break
      await sleep(20)
    }
    throw new Error(`${pattern} was not printed:\n${this.#printed}`)
  }

  /** Its address, as soon as it serves. */
  async ready(withinMs = 40_000): Promise<string> {
    return (await this.printed(/ready at (http:\S+)/, { withinMs }))[1] ?? ''
  }

  async ended(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    await this.#ended
    return { code: this.#child.exitCode, signal: this.#child.signalCode }
  }

  async stop(): Promise<number | null> {
    this.kill('SIGINT')
    return (await this.ended()).code
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.stop()
  }
}

/** Waits until `look` returns something. */
export async function eventually<T>(look: () => Promise<T | undefined>, withinMs = 15_000): Promise<T> {
  const deadline = Date.now() + withinMs
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    if (Date.now() > deadline) throw new Error('it did not happen in time')
    await sleep(50)
  }
}

/** Processes that have a text in their command line or environment: those that use a data folder (Linux). */
export async function processesOf(text: string): Promise<{ pid: number; command: string }[]> {
  const pids = (await readdir('/proc')).map(Number).filter((pid) => Number.isInteger(pid) && pid !== process.pid)
  const found = await Promise.all(
    pids.map(async (pid) => {
      const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
      const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')
      const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
      const isZombie = state.slice(state.lastIndexOf(')') + 2).startsWith('Z')
      return !isZombie && (command + environment).includes(text)
        ? [{ pid, command: command.replaceAll('\0', ' ') }]
        : []
    }),
  )
  return found.flat()
}

/** The server process that runs on a data folder. */
export async function serverPid(dataDir: string): Promise<number> {
  const [server] = (await processesOf(dataDir)).filter(({ command }) => command.includes('server.js'))
  if (server === undefined) throw new Error(`no server runs on ${dataDir}`)
  return server.pid
}

export interface Api {
  readonly base: string
  call(method: string, at: string, body?: unknown): Promise<{ status: number; body: Record<string, unknown> }>
  text(at: string): Promise<string>
}

export function apiAt(base: string, key: string): Api {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
  const request = (method: string, at: string, body?: unknown): Promise<Response> =>
    fetch(base + at, {
      method,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(20_000),
    })
  return {
    base,
    call: async (method, at, body) => {
      const response = await request(method, at, body)
      return { status: response.status, body: (await response.json()) as Record<string, unknown> }
    },
    text: async (at) => (await request('GET', at)).text(),
  }
}

/** The API with the key that a data folder keeps. */
export async function apiOf(base: string, dataDir: string): Promise<Api> {
  return apiAt(base, (await readFile(path.join(dataDir, 'api-key'), 'utf8')).trim())
}

export async function removeFolder(dir: string): Promise<void> {
  await rm(dir, { recursive: true, force: true })
}
