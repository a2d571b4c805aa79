import { closeSync, openSync, readlinkSync, readSync } from 'node:fs'
import path from 'node:path'

/** Milliseconds of processor time of one thread. Close it. */
export interface ThreadClock {
  readonly now: () => number
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
    const clock = { now: () => readMs(fd), close: () => closeSync(fd) }
    if (clock.now() > 0) return clock
    clock.close()
  } catch {
    // Not Linux, or a sandbox.
  }
  return undefined
}

const buffer = Buffer.alloc(64)

/** The first number is the time on a processor in nanoseconds. */
function readMs(fd: number): number {
  try {
    return Number.parseInt(buffer.toString('latin1', 0, readSync(fd, buffer, 0, buffer.length, 0)), 10) / 1e6
  } catch {
    // The thread has ended.
    return Infinity
  }
}
