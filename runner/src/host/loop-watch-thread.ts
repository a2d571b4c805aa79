/** The thread that watches the host's event loop (loop-watch.ts). It loads little, because every session has one. */
import { writeSync } from 'node:fs'
import { workerData } from 'node:worker_threads'
import { HUNG_AFTER_MS, START_GRACE_MS, Watchdog } from '@cliscale/service-kit/watchdog'
import type { LoopWatchData } from './loop-watch.ts'
import { openThreadClock } from './terminal/thread-clock.ts'

const TICK_MS = 1_000

const { beats, thread } = workerData as LoopWatchData
const counter = new Int32Array(beats)
const clock = openThreadClock(thread)
const watchdog = new Watchdog({ limitMs: HUNG_AFTER_MS, tickMs: TICK_MS, graceMs: START_GRACE_MS })
let seen = 0
let waitedMs = clock?.waited() ?? 0
let signal: NodeJS.Signals = 'SIGALRM'

setInterval(() => {
  const beat = Atomics.load(counter, 0)
  if (beat !== seen) watchdog.beat()
  seen = beat
  const since = waitedMs
  waitedMs = clock?.waited() ?? 0
  if (!watchdog.tick(waitedMs - since)) return
  tell(`the event loop stood still for ${HUNG_AFTER_MS / 1000} s; this process ends by ${signal}`)
  process.kill(process.pid, signal)
  signal = 'SIGKILL'
}, TICK_MS)

/** A line as the logger of the loop would write it. */
function tell(message: string): void {
  try {
    writeSync(1, `${JSON.stringify({ severity: 'ERROR', time: new Date(), service: 'host', message })}\n`)
  } catch {
    // The disk is full, or nobody reads it.
  }
}
