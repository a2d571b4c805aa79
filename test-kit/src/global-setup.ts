import { randomBytes } from 'node:crypto'
import { mkdtemp } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { type LocalPostgres, startPostgres } from '@cliscale/local-postgres'

declare global {
  var cliscaleTestPostgres: { server: LocalPostgres; dir: string } | undefined
}

/** Jest's global set-up: one disposable PostgreSQL for the whole run; its superuser URL is in TEST_DATABASE_URL. */
export default async function setup(): Promise<void> {
  const dir = await mkdtemp(path.join(os.tmpdir(), 'cliscale-test-'))
  const { chmod } = await import('node:fs/promises')
  await chmod(dir, 0o755)
  const password = randomBytes(12).toString('hex')
  const server = await startPostgres({ dataDir: dir, password, disposable: true })
  globalThis.cliscaleTestPostgres = { server, dir }
  process.env['TEST_DATABASE_URL'] = server.url({ user: 'postgres', password, database: 'postgres' })
}
