import { setTimeout as sleep } from 'node:timers/promises'
import { isStill, nowTicks, ProcessList, type SessionProcess, type SessionProcesses } from './process-list.ts'
import { StopOrder } from './stop-order.ts'

export type { SessionProcesses } from './process-list.ts'

const LOOK_EVERY_MS = 20
/** How long kills are repeated. */
const KILL_LIMIT_MS = 5000

/** Pids of a session's processes that are alive, also those that left its process group. */
export async function findSessionProcesses(target: SessionProcesses): Promise<number[]> {
  return (await new ProcessList(target).find()).map(({ pid }) => pid)
}

/**
 * Asks a session's processes to end, in the order in which they can (see StopOrder), until none is left or the time that
 * `killAtMs` tells has come; then SIGKILL until nothing is found, for at most 5 s. Resolves to the number of processes
 * that were still there.
 */
export async function endSessionProcesses(target: SessionProcesses, killAtMs: () => number): Promise<number> {
  const list = new ProcessList(target)
  const graceTicks = Math.max(0, killAtMs() - Date.now()) / 10
  const order = new StopOrder({
    headStartTicks: graceTicks / 10,
    patienceTicks: graceTicks / 2,
    quietTicks: graceTicks / 5,
  })
  let left = await list.find(true)
  while (left.length > 0 && Date.now() < killAtMs()) {
    for (const { process: one, signals } of order.next(left, nowTicks())) signal(one, signals)
    await sleep(LOOK_EVERY_MS)
    left = await list.find()
    if (left.length === 0) left = await list.find(true)
  }
  for (const until = Date.now() + KILL_LIMIT_MS; left.length > 0 && Date.now() < until;) {
    // Stopped first, so that a fork bomb does not outrun the kills.
    for (const one of left) signal(one, ['SIGSTOP'])
    for (const one of left) signal(one, ['SIGKILL'])
    await sleep(10)
    left = await list.find(true)
  }
  return left.length
}

/** One that is gone meanwhile is no fault; who got its pid is not meant. */
function signal(found: SessionProcess, signals: readonly NodeJS.Signals[]): void {
  for (const name of signals) {
    if (!isStill(found)) return
    try {
      process.kill(found.pid, name)
    } catch {
      // gone already, or not ours to signal
    }
  }
}
