import { execFile } from 'node:child_process'
import { closeSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import tty from 'node:tty'
import type { TerminalSize } from '@cliscale/contract'

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
export class Pty implements Disposable {
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

  /** Runs stty on it; resolves also when stty is missing or fails, after at most 2 s. */
  stty(...args: string[]): Promise<void> {
    const file = process.platform === 'darwin' ? '-f' : '-F'
    return new Promise((resolve) => {
      const done = (): void => resolve()
      execFile('stty', [file, this.path, ...args], { timeout: 2000 }, done).on('error', done)
    })
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
