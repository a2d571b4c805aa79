import { randomBytes } from 'node:crypto'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { startPostgres } from '@cliscale/local-postgres'

/** A PostgreSQL that a test may break: stop, start again, kill parts of. */
export interface TestPostgres extends AsyncDisposable {
  /** Of the superuser, for the database `postgres`; the same after each start. */
  readonly url: string
  /** Of the server's first process. */
  pid(): number
  stop(): Promise<void>
  start(): Promise<void>
}

/** A server of its own, beside the one of the run; it takes about a second. Gone with its data on dispose. */
export async function startTestPostgres(): Promise<TestPostgres> {
  const dir = await mkdtemp(path.join(os.tmpdir(), 'cliscale-test-'))
  await chmod(dir, 0o755)
  const password = randomBytes(12).toString('hex')
  // Durable, unlike the server of the run: with synchronous_commit off a crash loses what was committed just before.
  const start = () => startPostgres({ dataDir: dir, password })
  let server = await start()
  return {
    url: server.url({ user: 'postgres', password, database: 'postgres' }),
    pid: () => server.pid,
    stop: () => server.stop(),
    start: async () => {
      server = await start()
    },
    [Symbol.asyncDispose]: async () => {
      await server.stop()
      await rm(dir, { recursive: true, force: true })
    },
  }
}
