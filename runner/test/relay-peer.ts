import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { INPUT_WINDOW_BYTES } from '@cliscale/contract'
import { type WorkEvent, WorkLink } from '../src/host/work-link.ts'
import type { PreparedOrder, WorkExit, WorkStage } from '../src/relay/messages.ts'

const dist = path.join(import.meta.dirname, '../dist')

export interface WorkProcess extends AsyncDisposable {
  readonly dir: string
  readonly socketPath: string
  readonly workspaceDir: string
  readonly homeDir: string
  readonly child: ChildProcess
  /** Resolves to its exit code. */
  readonly exited: Promise<number | null>
  connect(from?: number, secret?: string): Promise<WorkLink>
}

export const SECRET = 'a-secret-of-this-test'

/** The built `work` as a process of its own, in a folder of its own. */
export function startWork(env: Record<string, string> = {}): WorkProcess {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'cs-work-'))
  const workspaceDir = path.join(dir, 'workspace')
  const homeDir = path.join(dir, 'home')
  const socketPath = path.join(dir, 'work.sock')
  for (const folder of [workspaceDir, homeDir]) mkdirp(folder)
  const child = spawn(process.execPath, [path.join(dist, 'worker/main.js')], {
    env: {
      PATH: process.env['PATH'],
      CLISCALE_WORK_SOCKET: socketPath,
      CLISCALE_WORKSPACE_DIR: workspaceDir,
      CLISCALE_HOME_DIR: homeDir,
      ...env,
    },
    stdio: ['ignore', 'ignore', 'inherit'],
    detached: true,
  })
  const exited = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)))
  return {
    dir,
    socketPath,
    workspaceDir,
    homeDir,
    child,
    exited,
    connect: (from = 0, secret = SECRET) => connectSoon(socketPath, from, secret),
    [Symbol.asyncDispose]: async () => {
      const limit = setTimeout(() => child.kill('SIGKILL'), 500)
      if (!child.killed) child.kill('SIGTERM')
      await exited
      clearTimeout(limit)
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

function mkdirp(folder: string): void {
  mkdirSync(folder, { recursive: true })
}

async function connectSoon(socketPath: string, from: number, secret: string): Promise<WorkLink> {
  for (const until = Date.now() + 10_000; ;) {
    try {
      return await WorkLink.connect({ socketPath, secret, from })
    } catch (error) {
      const { kind } = error as { kind?: string }
      // Between bind and listen, nobody listens on a socket that already exists.
      if ((kind !== 'absent' && kind !== 'dead') || Date.now() > until) throw error
      await sleep(20)
    }
  }
}

let streams = 0

/** Types into work as one viewer does: keeps what was not taken, and has one window of it in flight. */
export class Typist {
  readonly stream = `viewer-${++streams}`
  link: WorkLink
  progress = { received: 0, taken: 0 }
  dropped = 0
  lineCuts = 0
  private bytes = Buffer.alloc(0)
  private sent = 0

  constructor(link: WorkLink) {
    this.link = link
  }

  type(text: string | Buffer): void {
    this.bytes = Buffer.concat([this.bytes, Buffer.from(text)])
    this.fill()
  }

  /** A key that goes ahead of all that was not sent. */
  interrupt(key: string): void {
    this.link.typed({ stream: this.stream, at: this.bytes.length, bytes: Buffer.from(key), ahead: true })
    this.bytes = Buffer.concat([this.bytes, Buffer.from(key)])
  }

  /** After a new connection: goes on where work is. */
  goOn(link: WorkLink): void {
    this.link = link
    const known = link.welcome.typed?.find(({ stream }) => stream === this.stream)
    this.progress = known ?? { received: 0, taken: 0 }
    this.sent = this.progress.received
    this.fill()
  }

  hear(event: WorkEvent): void {
    if (event.type !== 'typed' || event.progress.stream !== this.stream) return
    this.progress = event.progress
    this.sent = Math.max(this.sent, event.progress.received)
    this.dropped += event.progress.dropped
    if (event.progress.isLineCut) this.lineCuts++
    this.fill()
  }

  private fill(): void {
    while (this.sent < this.bytes.length && this.sent - this.progress.taken < INPUT_WINDOW_BYTES) {
      const bytes = this.bytes.subarray(this.sent, this.sent + 16 * 1024)
      this.link.typed({ stream: this.stream, at: this.sent, bytes, ahead: false })
      this.sent += bytes.length
    }
  }
}

/** An order as a host hands it over. */
export function order(command: string, rest: Partial<PreparedOrder> = {}): PreparedOrder {
  return { sessionId: randomUUID(), command, prompt: null, installCmd: '', env: {}, ...rest }
}

export interface Result {
  readonly output: Buffer
  readonly exit: WorkExit
  readonly stages: WorkStage[]
}

/** Prepares, goes, and reads to the exit, acknowledging as a host does. */
export async function runOrder(
  link: WorkLink,
  toRun: PreparedOrder,
  onOutput: (all: () => Buffer) => void = () => {},
  onRunning: () => void = () => {},
  onEvent: (event: WorkEvent) => void = () => {},
): Promise<Result> {
  link.send({ type: 'prepare', order: toRun })
  const parts: Buffer[] = []
  const stages: WorkStage[] = []
  let offset = 0
  for await (const event of link.events()) {
    onEvent(event)
    if (event.type === 'prepared') link.send({ type: 'go', size: { columns: 120, rows: 40 } })
    if (event.type === 'stage') {
      stages.push(event.stage)
      if (event.stage.name === 'running') setTimeout(onRunning, 300)
    }
    if (event.type === 'output') {
      if (event.offset !== offset) throw new Error(`expected offset ${offset}, got ${event.offset}`)
      parts.push(Buffer.from(event.bytes))
      offset += event.bytes.length
      link.send({ type: 'ack', offset })
      onOutput(() => Buffer.concat(parts))
    }
    if (event.type === 'exit') return { output: Buffer.concat(parts), exit: event.exit, stages }
  }
  throw new Error('work closed the connection before the exit')
}

/** One order in a work of its own. */
export async function runOnce(
  toRun: PreparedOrder,
  options: {
    env?: Record<string, string>
    onOutput?: (all: () => Buffer, link: WorkLink) => void
    onRunning?: (link: WorkLink) => void
  } = {},
): Promise<Result> {
  await using work = startWork(options.env)
  const link = await work.connect()
  const result = await runOrder(
    link,
    toRun,
    (all) => options.onOutput?.(all, link),
    () => options.onRunning?.(link),
  )
  link.send({ type: 'quit' })
  await link.end()
  await work.exited
  return result
}
