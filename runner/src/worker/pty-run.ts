import { spawn } from 'node:child_process'
import { fstatSync, writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { sessionTag, type TerminalSize } from '@cliscale/contract'
import { createMarker, MarkerScanner } from './end-marker.ts'
import { inheritedDescriptors, Pty } from './pty.ts'
import type { InputSink } from './typed-input.ts'
import { endSessionProcesses, type SessionProcesses } from './session-processes.ts'
import { signalName } from './signal-name.ts'

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
  private readonly startMarker: Buffer
  /** What was read before the start marker came; undefined after it. */
  private before: Buffer | undefined = Buffer.alloc(0)
  private scanner: MarkerScanner | undefined
  private foundMarker = false
  private lastReadAt = Date.now()
  /** The time at which the grace of a stop, or of what the command left behind, is over. */
  private killAtMs: number | undefined
  private ending: Promise<void> | undefined

  private constructor(options: RunOptions, pty: Pty, startMarker: Buffer) {
    this.options = options
    this.pty = pty
    this.startMarker = startMarker
    pty.reader.on('data', (chunk: Buffer) => this.onRead(chunk))
    pty.reader.on('error', () => {}) // EIO after a hang-up; the quiet limit ends the run
    this.exit = this.run().finally(() => pty[Symbol.dispose]())
  }

  /** Starts it. What cannot be started throws, or is an `exit` with an error, as the system tells it. */
  static start(options: RunOptions): PtyRun {
    const marker = createMarker()
    const { bash: file, cwd, env } = options
    return new PtyRun(options, new Pty(options.size, { file, args: bashArguments(options, marker), env, cwd }), marker)
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

  /**
   * Asks everything of the session to end, in the order in which it can; SIGKILL after `graceMs`. A later call can only
   * shorten the grace.
   */
  stop(graceMs: number): void {
    this.killAtMs = Math.min(this.killAtMs ?? Infinity, Date.now() + graceMs)
    this.ending ??= this.end()
  }

  /** Resolves when nothing of it is alive any more, or can't be killed. */
  private async end(): Promise<void> {
    const exited = this.pty.exit.then(() => true)
    // The exit is told a moment after the last process is gone. Each look is at all processes of the system.
    do await endSessionProcesses(this.target(), () => this.killAtMs!)
    while (!(await Promise.race([exited, sleep(100, false)])))
  }

  private target(): SessionProcesses {
    const { dev, ino } = fstatSync(this.pty.slave)
    return { ...this.options.session, leader: this.pty.leader, tty: { path: this.pty.path, dev, ino } }
  }

  private async run(): Promise<RunExit> {
    const { code, signal } = await this.pty.exit
    if (this.killAtMs === undefined) this.stop(this.options.sweepTermMs)
    await this.ending
    await this.drain()
    const error = this.before === undefined ? undefined : await startFault(this.options)
    if (error !== undefined) return { error }
    return signal === 0 ? { exitCode: code, signal: null } : { exitCode: null, signal: signalName(signal) }
  }

  private onRead(chunk: Buffer): void {
    this.lastReadAt = Date.now()
    if (this.foundMarker) return
    if (this.scanner === undefined) return this.emit(chunk)
    const { bytes, found } = this.scanner.push(chunk)
    this.foundMarker = found
    this.emit(bytes)
  }

  private emit(bytes: Buffer): void {
    const output = this.before === undefined ? bytes : this.afterStart(bytes)
    if (output.length > 0) this.options.onOutput(output)
  }

  /** What lies behind the start marker. */
  private afterStart(chunk: Buffer): Buffer {
    const all = Buffer.concat([this.before!, chunk])
    const at = all.indexOf(this.startMarker)
    this.before = at < 0 ? all.subarray(-this.startMarker.length) : undefined
    return at < 0 ? Buffer.alloc(0) : all.subarray(at + this.startMarker.length)
  }

  /** Everything that was written to the terminal is read when the marker behind it is. */
  private async drain(): Promise<void> {
    const marker = createMarker()
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
    if (!this.foundMarker) this.emit(this.scanner.rest())
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
 * A bash that makes the terminal ready, then `bash -c` in its place: the command is one argument, so it arrives byte for
 * byte, and `--` keeps one that begins with a dash from being an option. What comes before the marker (a locale that is
 * not there, the order's shell settings) is not the command's.
 *
 * The binding's terminal differs from the kernel's in a few settings, which stty takes back. The limit is the session's
 * tag; where it can't be set, as on macOS, processes are known by what else they have in common.
 */
function bashArguments({ bash, command, session, isWithoutInput }: RunOptions, marker: Buffer): string[] {
  const close = inheritedDescriptors().map((fd) => `${fd}>&-`)
  const input = isWithoutInput ? '0</dev/null' : ''
  const script = [
    'exec 2>/dev/null',
    'ulimit -x "$4" || :',
    'command -p stty -ixany -brkint -imaxbel eol undef eol2 undef || :',
    'printf %s "$1"',
    `exec -a bash "$3" -c -- "$2" 2>&1 ${input} ${close.join(' ')}`,
  ].join('\n')
  const values = [marker.toString(), command, bash, sessionTag(session.sessionId)]
  return ['--noprofile', '--norc', '-c', script, 'cliscale', ...values]
}

/** Why a program of such a size can't be started in this folder; undefined when it can. The binding does not tell. */
function startFault(options: RunOptions): Promise<Error | undefined> {
  const { bash, cwd, env } = options
  const [profile, rc, c, , ...values] = bashArguments(options, createMarker())
  return new Promise((resolve) => {
    const child = spawn(bash, [profile!, rc!, c!, 'exit', ...values], { cwd, env: { ...env }, stdio: 'ignore' })
    child.once('error', resolve)
    child.once('exit', () => resolve(undefined))
  })
}
