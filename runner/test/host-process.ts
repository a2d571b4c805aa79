import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ControllerDouble } from './controller-double.ts'
import { endSessionProcesses, findSessionProcesses } from '../src/worker/session-processes.ts'

const dist = path.join(import.meta.dirname, '../dist')
const PROGRAMS = { host: 'host/main.js', work: 'worker/main.js' }

/** host and work of one session as processes of their own, as a launcher runs them. */
export class HostUnderTest implements AsyncDisposable {
  readonly dir = mkdtempSync(path.join(os.tmpdir(), 'cs-host-'))
  readonly workSocket = path.join(this.dir, 'work.sock')
  readonly workspaceDir = path.join(this.dir, 'workspace')
  readonly spoolDir = path.join(this.dir, 'spool')
  readonly endpointFile = path.join(this.dir, 'endpoint.json')
  private readonly controller: ControllerDouble
  private readonly children: ChildProcess[] = []
  work: ChildProcess | undefined
  host: ChildProcess | undefined
  /** Exit codes of the hosts so far; null: killed. */
  readonly hostExits: (number | null)[] = []

  constructor(controller: ControllerDouble) {
    this.controller = controller
    for (const folder of [this.workspaceDir, this.spoolDir, path.join(this.dir, 'home')]) mkdirSync(folder)
    writeFileSync(path.join(this.dir, 'identity'), 'identity-of-this-launch\n')
  }

  /** Brings a folder that holds `file`; call it before the host starts. */
  withCode(file: string): this {
    const folder = path.join(this.dir, 'code')
    mkdirSync(folder)
    writeFileSync(path.join(folder, 'file'), file)
    this.controller.setCodeUrl(folder)
    return this
  }

  start(): this {
    this.startWork()
    this.startHost()
    return this
  }

  startWork(env: Record<string, string> = {}): void {
    this.work = this.spawn('work', {
      CLISCALE_HOME_DIR: path.join(this.dir, 'home'),
      CLISCALE_WORKSPACE_DIR: this.workspaceDir,
      ...env,
    })
  }

  startHost(env: Record<string, string> = {}): ChildProcess {
    const host = this.spawn('host', {
      CLISCALE_CONTROLLER_URL: this.controller.url,
      CLISCALE_IDENTITY_TOKEN_FILE: path.join(this.dir, 'identity'),
      CLISCALE_SPOOL_DIR: this.spoolDir,
      CLISCALE_WORKSPACE_DIR: this.workspaceDir,
      CLISCALE_LISTEN: '127.0.0.1:0',
      CLISCALE_ENDPOINT_FILE: this.endpointFile,
      ...env,
    })
    host.once('exit', (code) => this.hostExits.push(code))
    this.host = host
    return host
  }

  /** kill -9, and a new start at once. */
  async restartHost(): Promise<void> {
    await this.killHost()
    this.startHost()
  }

  async killHost(): Promise<void> {
    const host = this.host!
    const ended = new Promise((resolve) => host.once('exit', resolve))
    if (!host.kill('SIGKILL')) return
    await ended
  }

  /** Resolves to the exit code of the host that runs now. */
  async hostExit(limitMs = 20_000): Promise<number | null> {
    const host = this.host!
    for (const until = Date.now() + limitMs; Date.now() < until; await sleep(20)) {
      if (host.exitCode !== null || host.signalCode !== null) return host.exitCode
    }
    throw new Error('the host does not end')
  }

  async workExit(limitMs = 10_000): Promise<void> {
    const work = this.work!
    for (const until = Date.now() + limitMs; Date.now() < until; await sleep(20)) {
      if (work.exitCode !== null || work.signalCode !== null) return
    }
    throw new Error('work does not end')
  }

  /** Where the host listens. */
  async port(): Promise<number> {
    for (const until = Date.now() + 10_000; Date.now() < until; await sleep(20)) {
      try {
        return (JSON.parse(readFileSync(this.endpointFile, 'utf8')) as { port: number }).port
      } catch {
        // It does not exist yet.
      }
    }
    throw new Error('the host does not listen')
  }

  /** Makes `port` wait for the next start. */
  forgetPort(): void {
    rmSync(this.endpointFile, { force: true })
  }

  /** What is left of the session's processes, host and work aside. */
  leftovers(): Promise<number[]> {
    return findSessionProcesses({ sessionId: this.controller.sessionId, spareWorkSocket: this.workSocket })
  }

  log(program: 'host' | 'work'): string {
    return readFileSync(path.join(this.dir, `${program}.log`), 'utf8')
  }

  private spawn(program: 'host' | 'work', env: Record<string, string>): ChildProcess {
    const child = spawn(process.execPath, [path.join(dist, PROGRAMS[program]), this.controller.sessionId], {
      env: {
        PATH: process.env['PATH'],
        CLISCALE_SESSION_ID: this.controller.sessionId,
        CLISCALE_WORK_SOCKET: this.workSocket,
        ...env,
      },
      stdio: ['ignore', openSync(path.join(this.dir, `${program}.log`), 'a'), 'inherit'],
      detached: true,
    })
    this.children.push(child)
    return child
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.children) child.kill('SIGKILL')
    await endSessionProcesses({ sessionId: this.controller.sessionId }, () => 0)
    rmSync(this.dir, { recursive: true, force: true })
  }
}
