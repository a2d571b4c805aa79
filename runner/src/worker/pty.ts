import { execFile } from 'node:child_process'
import { closeSync, readdirSync, readSync, writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import tty from 'node:tty'
import type { TerminalSize } from '@cliscale/contract'
import type { InputSink } from './typed-input.ts'
import { parseModes, type TtyModes, UNKNOWN_MODES } from './tty-modes.ts'

interface NativePty {
  open(columns: number, rows: number): { master: number; slave: number; pty: string }
  resize(fd: number, columns: number, rows: number): void
}

let native: NativePty | undefined
/** node-pty's binding without its Terminal class, which destroys the socket 200 ms after the exit and loses output. */
function binding(): NativePty {
  native ??= (
    createRequire(import.meta.url)('@lydell/node-pty/requireBinary.js') as {
      requireBinary(file: string): NativePty
    }
  ).requireBinary('pty.node')
  return native
}

/**
 * A pseudo terminal. Its slave stays open here, so that reading never meets a hang-up while output is left in it.
 * Both ends are non-blocking. The owner closes it.
 */
export class Pty implements Disposable, InputSink {
  readonly master: number
  readonly slave: number
  /** Path of the slave. */
  readonly path: string
  readonly reader: tty.ReadStream
  private closed = false

  constructor(size: TerminalSize) {
    const { master, slave, pty } = binding().open(size.columns, size.rows)
    this.master = master
    this.slave = slave
    this.path = pty
    this.reader = new tty.ReadStream(master)
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
