import { type ChildProcess, spawn } from 'node:child_process'
import { fstatSync, writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TerminalSize } from '@cliscale/contract'
import { createEndMarker, MarkerScanner } from './end-marker.ts'
import { inheritedDescriptors, Pty } from './pty.ts'
import type { InputSink } from './typed-input.ts'
import { askSessionToEnd, endSessionProcesses, type SessionProcesses } from './session-processes.ts'

export interface RunOptions {
  readonly command: string
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  /** Path of bash. */
  readonly bash: string
  readonly size: TerminalSize
  readonly session: Pick<SessionProcesses, 'sessionId' | 'spareWorkSocket'>
  /** How long what is left after the command's exit has between SIGTERM and SIGKILL. */
  readonly sweepTermMs: number
  /** Nobody can answer it: a question finds its input ended. */
  readonly isWithoutInput?: boolean
  readonly onOutput: (bytes: Buffer) => void
}

export type RunExit = { readonly exitCode: number | null; readonly signal: string | null } | { readonly error: Error }

/** Quiet for this long, with the reader reading, means that the marker will not come (the tty was hung up or stopped). */
const MARKER_QUIET_MS = 2000

/**
 * One command in a terminal of its own. `exit` resolves after its last byte was given to `onOutput`, when nothing of
 * it is alive any more.
 */
export class PtyRun {
  readonly exit: Promise<RunExit>
  private readonly options: RunOptions
  private readonly pty: Pty
  private readonly child: ChildProcess
  private scanner: MarkerScanner | undefined
  private foundMarker = false
  private lastReadAt = Date.now()
  /** When a stop was asked for: the time at which its grace is over. */
  private killAtMs: number | undefined

  private constructor(options: RunOptions, pty: Pty) {
    this.options = options
    this.pty = pty
    pty.reader.on('data', (chunk: Buffer) => this.onRead(chunk))
    pty.reader.on('error', () => {}) // EIO after a hang-up; the quiet limit ends the run
    this.child = spawnIn(pty, options)
    this.exit = this.run().finally(() => pty[Symbol.dispose]())
  }

  /** Starts it. What cannot be started throws, or is an `exit` with an error, as the system tells it. */
  static async start(options: RunOptions): Promise<PtyRun> {
    const pty = new Pty(options.size)
    // Backspace must delete whole characters of UTF-8. Before the spawn, so that the command cannot see it change.
    await pty.stty('iutf8')
    try {
      return new PtyRun(options, pty)
    } catch (error) {
      pty[Symbol.dispose]()
      throw error
    }
  }

  /** Where what is typed goes. */
  get input(): InputSink {
    return this.pty
  }

  resize(size: TerminalSize): void {
    this.pty.resize(size)
  }

  pause(): void {
    this.pty.reader.pause()
  }

  resume(): void {
    this.lastReadAt = Date.now()
    this.pty.reader.resume()
  }

  /** SIGTERM to everything of the session now, SIGKILL after `graceMs`. A later call can only shorten the grace. */
  stop(graceMs: number): void {
    const first = this.killAtMs === undefined
    this.killAtMs = Math.min(this.killAtMs ?? Infinity, Date.now() + graceMs)
    if (first) void this.stopInTime()
  }

  private async stopInTime(): Promise<void> {
    let exited = false
    void this.exit.then(() => (exited = true))
    await askSessionToEnd(this.target())
    while (!exited && Date.now() < this.killAtMs!) await sleep(20)
    if (!exited) await endSessionProcesses(this.target(), 0)
  }

  private target(): SessionProcesses {
    const { dev, ino } = fstatSync(this.pty.slave)
    return { ...this.options.session, leader: this.child.pid, tty: { path: this.pty.path, dev, ino } }
  }

  private async run(): Promise<RunExit> {
    const exit = await new Promise<RunExit>((resolve) => {
      this.child.once('error', (error) => resolve({ error }))
      this.child.once('exit', (exitCode, signal) => resolve({ exitCode, signal }))
    })
    await this.sweep()
    await this.drain()
    return exit
  }

  /** Ends what the command left behind, within the grace of a stop or a short moment. */
  private async sweep(): Promise<void> {
    if (this.killAtMs === undefined) await askSessionToEnd(this.target())
    await endSessionProcesses(this.target(), this.killAtMs ?? Date.now() + this.options.sweepTermMs)
  }

  private onRead(chunk: Buffer): void {
    this.lastReadAt = Date.now()
    if (this.foundMarker) return
    if (this.scanner === undefined) return this.options.onOutput(chunk)
    const { bytes, found } = this.scanner.push(chunk)
    this.foundMarker = found
    if (bytes.length > 0) this.options.onOutput(bytes)
  }

  /** Everything that was written to the terminal is read when the marker behind it is. */
  private async drain(): Promise<void> {
    const marker = createEndMarker()
    this.scanner = new MarkerScanner(marker)
    this.lastReadAt = Date.now()
    let written = 0
    let released = false
    while (!this.foundMarker) {
      if (written < marker.length) written += this.writeMarker(marker.subarray(written))
      const quietMs = this.pty.reader.isPaused() ? 0 : Date.now() - this.lastReadAt
      if (!released && quietMs > 50) {
        released = true
        void this.pty.stty('-ixon') // starts a terminal again that Ctrl-S stopped
      }
      if (quietMs > MARKER_QUIET_MS) break
      await sleep(written < marker.length ? 5 : 1)
    }
    if (!this.foundMarker && this.scanner.rest().length > 0) this.options.onOutput(this.scanner.rest())
  }

  /** Bytes written; 0 while the terminal is full or stopped, or when it was hung up. */
  private writeMarker(bytes: Buffer): number {
    try {
      return writeSync(this.pty.slave, bytes)
    } catch {
      return 0
    }
  }
}

/**
 * bash as leader of a session whose terminal is the pty, then `bash -c` in its place: the command is one argument, so
 * it arrives byte for byte, and `--` keeps one that begins with a dash from being an option. One `exec` does it all,
 * before any of the order's shell settings (SHELLOPTS) can print something.
 */
function spawnIn(pty: Pty, options: RunOptions): ChildProcess {
  const close = inheritedDescriptors().map((fd) => `${fd}>&-`)
  const input = options.isWithoutInput ? '1<>"$1" 2>&1 0</dev/null' : '0<>"$1" 1>&0 2>&0'
  const script = `exec -a bash "$3" -c -- "$2" ${input} ${close.join(' ')}`
  return spawn(
    options.bash,
    ['--noprofile', '--norc', '-c', script, 'cliscale', pty.path, options.command, options.bash],
    { cwd: options.cwd, env: { ...options.env }, detached: true, stdio: 'ignore' },
  )
}
