import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'

const LOG_MAX_BYTES = 16 * 1024 * 1024
const LOOK_EVERY_MS = 5_000
const { O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDWR, O_TRUNC, O_WRONLY } = constants

/** Keeps logs of other processes small until it is stopped. They must be written to by appending. */
export function keepLogSmall(file: string): { stop(): void } {
  const timer = setInterval(() => rotate(file), LOOK_EVERY_MS).unref()
  return { stop: () => clearInterval(timer) }
}

/**
 * Keeps a log at two files of a bounded size: what is in it goes to `<file>.1`, and it is emptied where it is, because
 * whoever writes to it has it open. A line that is written in just that moment is lost. A full disk loses all of it:
 * room on it is worth more. Never throws.
 */
export function rotate(file: string, maxBytes = LOG_MAX_BYTES): void {
  let log: number | undefined
  try {
    if (statSync(file).size <= maxBytes) return
    log = openSync(file, O_RDWR | O_NOFOLLOW | O_NONBLOCK)
    if (!fstatSync(log).isFile()) return
    keepCopy(log, `${file}.1`)
    ftruncateSync(log)
  } catch {
    // It is not there, or something else is in its place: it is looked at again.
  } finally {
    if (log !== undefined) closeSync(log)
  }
}

function keepCopy(log: number, target: string): void {
  const draft = `${target}.draft`
  try {
    const copy = openSync(draft, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o600)
    try {
      const buffer = Buffer.alloc(1024 * 1024)
      for (let at = 0, read = 1; read > 0; at += read) {
        read = readSync(log, buffer, 0, buffer.length, at)
        writeSync(copy, buffer, 0, read)
      }
    } finally {
      closeSync(copy)
    }
    renameSync(draft, target)
  } catch {
    rmSync(draft, { force: true })
  }
}
