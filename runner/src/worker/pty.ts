import { execFile } from 'node:child_process'
import { closeSync, constants, openSync, readdirSync, readSync, writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import tty from 'node:tty'
import type { TerminalSize } from '@cliscale/contract'
import { startOf } from './process-list.ts'
import type { InputSink } from './typed-input.ts'
import { parseModes, type TtyModes, UNKNOWN_MODES } from './tty-modes.ts'

interface NativePty {
  fork(
    file: string,
    args: readonly string[],
    env: readonly string[],
    cwd: string,
    columns: number,
    rows: number,
    uid: number,
    gid: number,
    utf8: boolean,
    helper: string,
    onExit: (code: number, signal: number) => void,
  ): { fd: number; pid: number; pty: string }
  resize(fd: number, columns: number, rows: number): void
}

const require = createRequire(import.meta.url)
let native: NativePty | undefined
/** node-pty's binding without its Terminal class, which destroys the socket 200 ms after the exit and loses output. */
function binding(): NativePty {
  native ??= (require('@lydell/node-pty/requireBinary.js') as { requireBinary(file: string): NativePty }).requireBinary(
    'pty.node',
  )
  return native
}

/** The program by which the binding starts others on macOS. */
function helper(): string {
  const name = `@lydell/node-pty-${process.platform}-${process.arch}/spawn-helper`
  return process.platform === 'darwin' ? require.resolve(name) : ''
}

export interface PtyProgram {
  readonly file: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string
}

/** How a program ended. `signal` is the number of the one that ended it, 0 when it exited. */
export interface PtyExit {
  readonly code: number
  readonly signal: number
}

/**
 * A pseudo terminal with a program in it, which leads a session of its own. Its slave stays open here, so that reading
 * never meets a hang-up while output is left in it. Both ends are non-blocking. The owner closes it.
 *
 * The binding waits for the program: `child_process` has no names for real-time signals, and tells of an end by one as
 * of an exit with code 0 (Node 20.20 and 24).
 */
export class Pty implements Disposable, InputSink {
  readonly master: number
  readonly slave: number
  /** Path of the slave. */
  readonly path: string
  /** The program's process, which leads the terminal's session. */
  readonly leader: { readonly pid: number; readonly start: number | undefined }
  readonly exit: Promise<PtyExit>
  readonly reader: tty.ReadStream
  private closed = false

  /** Throws when there is no terminal or process to be had. A program that can't be executed exits with code 1. */
  constructor({ columns, rows }: TerminalSize, { file, args, env, cwd }: PtyProgram) {
    const lines = Object.entries(env).map(([name, value]) => `${name}=${value}`)
    let told: (exit: PtyExit) => void
    this.exit = new Promise((resolve) => (told = resolve))
    const onExit = (code: number, signal: number): void => told({ code, signal })
    const forked = binding().fork(file, args, lines, cwd, columns, rows, -1, -1, true, helper(), onExit)
    this.master = forked.fd
    this.path = forked.pty
    this.leader = { pid: forked.pid, start: startOf(forked.pid) }
    this.slave = openSync(forked.pty, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK)
    this.reader = new tty.ReadStream(this.master)
  }

  /** Ignored once it is closed. */
  resize(size: TerminalSize): void {
    if (!this.closed) binding().resize(this.master, size.columns, size.rows)
  }

  /** Runs stty on it and resolves to what it prints: '' also when stty is missing or fails; after at most 2 s. */
  stty(...args: string[]): Promise<string> {
    const file = process.platform === 'darwin' ? '-f' : '-F'
    const options = { timeout: 2000, env: { ...process.env, LC_ALL: 'C' } }
    return new Promise((resolve) => {
      execFile('stty', [file, this.path, ...args], options, (error, stdout) => resolve(error ? '' : stdout))
    })
  }

  async modes(): Promise<TtyModes> {
    const text = await this.stty('-a')
    return text === '' ? UNKNOWN_MODES : parseModes(text)
  }

  writeInput(bytes: Buffer): number {
    if (this.closed) return 0
    try {
      return writeSync(this.master, bytes)
    } catch {
      return 0 // full
    }
  }

  /** By reading it in the program's place: nothing else flushes a terminal from here. */
  discardInput(): void {
    const sink = Buffer.allocUnsafe(64 * 1024)
    try {
      while (!this.closed && readSync(this.slave, sink) > 0);
    } catch {
      // There is nothing left to read.
    }
  }

  [Symbol.dispose](): void {
    if (this.closed) return
    this.closed = true
    this.reader.destroy()
    closeSync(this.slave)
  }
}

/** Descriptors above 2 that a child would inherit: the binding's have no close-on-exec flag. */
export function inheritedDescriptors(): number[] {
  try {
    return readdirSync(process.platform === 'linux' ? '/proc/self/fd' : '/dev/fd')
      .map(Number)
      .filter((fd) => fd > 2)
  } catch {
    return []
  }
}
