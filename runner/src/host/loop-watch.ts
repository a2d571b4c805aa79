import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { findThreadNumber } from './terminal/thread-clock.ts'

/** Beside this file in `dist`, and beside the bundle of the host. */
const PROGRAM = fileURLToPath(new URL('./loop-watch-thread.js', import.meta.url))
/** By far less than what a watch waits for. */
const BEAT_EVERY_MS = 1_000
const MEMORY = { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 1, stackSizeMb: 1 }

/** What the thread is given. */
export interface LoopWatchData {
  /** One Int32 that the loop increments once a second. */
  readonly beats: SharedArrayBuffer
  /** The loop's own thread, where the system tells. */
  readonly thread: number | undefined
}

/**
 * From now on a thread ends this process with SIGALRM when its event loop stands still, so that whoever started it starts
 * it again. It notices sooner than anybody outside, and it alone can tell standing still from waiting for a processor.
 * Nothing has to be closed: it keeps no process alive. It calls `onFault` when there is no thread (any more): then the
 * process is watched from outside alone.
 */
export function watchLoop(onFault: (error: Error) => void): void {
  const beats = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)
  const counter = new Int32Array(beats)
  setInterval(() => Atomics.add(counter, 0, 1), BEAT_EVERY_MS).unref()
  const workerData: LoopWatchData = { beats, thread: findThreadNumber() }
  try {
    const worker = new Worker(PROGRAM, { workerData, resourceLimits: MEMORY, execArgv: [], env: {} })
    worker.on('error', onFault)
    worker.unref()
  } catch (error) {
    onFault(error as Error) // the system gives no thread
  }
}
