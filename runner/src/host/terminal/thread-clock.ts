import { closeSync, openSync, readlinkSync, readSync } from 'node:fs'
import path from 'node:path'

/** The times of one thread, in milliseconds; Infinity when it has ended. Close it. */
export interface ThreadClock {
  /** On a processor. */
  readonly now: () => number
  /** Ready to run, and waiting for a processor. */
  readonly waited: () => number
  readonly close: () => void
}

/** This thread's number in the process, for `openThreadClock`; undefined where the system has no such thing. */
export function findThreadNumber(): number | undefined {
  try {
    return Number(path.basename(readlinkSync('/proc/thread-self')))
  } catch {
    return undefined
  }
}

/** Undefined where the system does not tell the processor time of a thread. */
export function openThreadClock(thread: number | undefined): ThreadClock | undefined {
  if (thread === undefined) return undefined
  try {
    const fd = openSync(`/proc/self/task/${thread}/schedstat`, 'r')
    const clock = { now: () => readMs(fd, 0), waited: () => readMs(fd, 1), close: () => closeSync(fd) }
    if (clock.now() > 0) return clock
    clock.close()
  } catch {
    // Not Linux, or a sandbox.
  }
  return undefined
}

const buffer = Buffer.alloc(64)

/** Two of its numbers are times, in nanoseconds. */
function readMs(fd: number, field: 0 | 1): number {
  try {
    const text = buffer.toString('latin1', 0, readSync(fd, buffer, 0, buffer.length, 0))
    return Number(text.split(' ')[field]) / 1e6
  } catch {
    // The thread has ended.
    return Infinity
  }
}
