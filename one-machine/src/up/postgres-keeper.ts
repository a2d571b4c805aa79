import { setTimeout as sleep } from 'node:timers/promises'
import { type LocalPostgres, startPostgres } from '@cliscale/local-postgres'
import { keepLogSmall } from './log-rotation.ts'
import type { Printer } from './printer.ts'

const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 10_000

export interface PostgresKeeper {
  /** The server that ran first; one that was started in its place has the same address. */
  readonly server: LocalPostgres
  /** Stops it for good. */
  stop(): Promise<void>
  /** Kills it without waiting. */
  kill(): void
}

/** Starts PostgreSQL, and again whenever it ends by itself. The caller stops it. */
export async function keepPostgres(options: {
  dataDir: string
  password: string
  printer: Printer
}): Promise<PostgresKeeper> {
  const start = (): Promise<LocalPostgres> => startPostgres({ dataDir: options.dataDir, password: options.password })
  const first = await start()
  let current = first
  let isStopping = false
  const keep = async (): Promise<void> => {
    for (;;) {
      await current.exited
      if (isStopping) return
      options.printer.line('PostgreSQL died. Restarting it; sessions keep running.')
      const restarted = await startUntilItStands(start, () => isStopping, options.printer)
      if (restarted === undefined) return
      current = restarted
      options.printer.line('PostgreSQL is back.')
    }
  }
  const kept = keep()
  const log = keepLogSmall(first.log)
  return {
    server: first,
    stop: async () => {
      isStopping = true
      log.stop()
      await current.stop()
      await kept
      // One that came up while we were stopping.
      await current.stop()
    },
    kill: () => {
      isStopping = true
      if (current.isRunning()) process.kill(current.pid, 'SIGQUIT')
    },
  }
}

async function startUntilItStands(
  start: () => Promise<LocalPostgres>,
  isStopping: () => boolean,
  printer: Printer,
): Promise<LocalPostgres | undefined> {
  for (let pauseMs = FIRST_PAUSE_MS; !isStopping(); pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    try {
      return await start()
    } catch (error) {
      printer.line(`${(error as Error).message} Trying again in ${pauseMs / 1000} s.`)
      await sleep(pauseMs)
    }
  }
  return undefined
}
