import { readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { isStoreUnavailable } from '@cliscale/service-kit'
import { migrate } from './migrate.ts'
import { waitForDatabase } from './wait.ts'

/**
 * `npm run migrate:latest | migrate:rollback | migrate:make -- <name>`, for developers and for the chart's hook.
 * `wait` ends when somebody else has migrated the database, `wait database` as soon as it answers, for the chart's pods.
 * CLISCALE_GATEWAY_DATABASE_USER names a login to make a member of the gateway's role, as Cloud SQL needs it.
 */
async function main(command: string | undefined, name: string | undefined): Promise<string> {
  if (command === 'make') return make(name)
  if (command !== 'latest' && command !== 'rollback' && command !== 'wait')
    throw new Error('usage: migrate-cli latest | rollback | make <name> | wait [database]')
  const url = await databaseUrl(process.env['CLISCALE_DATABASE_URL'], process.env['CLISCALE_DATABASE_URL_FILE'])
  if (command === 'wait') return wait(url, name)
  const gatewayLogin = process.env['CLISCALE_GATEWAY_DATABASE_USER'] || undefined
  const names = await patiently(() => migrate(url, command, { gatewayLogin }))
  if (names.length === 0) return command === 'latest' ? 'The database is up to date.' : 'There is nothing to roll back.'
  return `${command === 'latest' ? 'Ran' : 'Rolled back'} ${names.join(', ')}.`
}

/** How long a database may take that is started at the same time, or the proxy that leads to it. */
const PATIENCE_MS = 60_000

/** Repeats what a database that is away refused; each step of a migration is done once all the same. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  const until = Date.now() + PATIENCE_MS
  for (let told = false; ; told = true) {
    try {
      return await work()
    } catch (error) {
      if (!isStoreUnavailable(error) || Date.now() > until) throw error
      if (!told) process.stdout.write('Waiting: the database does not answer.\n')
      await sleep(1_000)
    }
  }
}

/** A migration of an empty cluster has an image to pull first. */
const WAIT_LIMIT_MS = 600_000

async function wait(url: string, what: string | undefined): Promise<string> {
  if (what !== undefined && what !== 'database') throw new Error('usage: migrate-cli wait [database]')
  await waitForDatabase(url, {
    until: what ?? 'schema',
    limitMs: WAIT_LIMIT_MS,
    report: (reason) => process.stdout.write(`Waiting: ${reason}.\n`),
  })
  return what === 'database' ? 'The database answers.' : 'The database is up to date.'
}

async function databaseUrl(url: string | undefined, file: string | undefined): Promise<string> {
  if (url && file) throw new Error('CLISCALE_DATABASE_URL and CLISCALE_DATABASE_URL_FILE are both set; keep one')
  if (url) return url
  if (!file)
    throw new Error('CLISCALE_DATABASE_URL is not set; name the database as postgres://user:password@host/database')
  const text = (await readFile(file, 'utf8')).trim()
  if (text === '') throw new Error(`the file ${file}, which CLISCALE_DATABASE_URL_FILE names, is empty`)
  return text
}

const TEMPLATE = `import type { Knex } from 'knex'

/** Whether the previous release cannot work with the schema after this step; it then refuses to start. */
export const breaking = false

export async function up(trx: Knex): Promise<void> {
  await trx.raw(\`\`)
}

export async function down(trx: Knex): Promise<void> {
  await trx.raw(\`\`)
}
`

/** Writes the next migration in the source folder; the list in index.ts is for the author to extend. */
async function make(given: string | undefined): Promise<string> {
  if (given === undefined || !/^[a-z][a-z0-9_-]{0,60}$/.test(given))
    throw new Error('name the migration in kebab-case: npm run migrate:make -w controller -- add-clusters')
  const name = given.replaceAll('_', '-')
  const folder = path.join(path.dirname(fileURLToPath(import.meta.url)), '../../src/db/migrations')
  const numbers = (await readdir(folder)).map((file) => Number.parseInt(file, 10)).filter((n) => !Number.isNaN(n))
  const number = String(Math.max(0, ...numbers) + 1).padStart(4, '0')
  await writeFile(path.join(folder, `${number}-${name}.ts`), TEMPLATE, { flag: 'wx' })
  return [
    `Wrote controller/src/db/migrations/${number}-${name}.ts. Add it to the list in index.ts:`,
    `  import * as m${number} from './${number}-${name}.ts'`,
    `  { name: '${number}-${name}', breaking: m${number}.breaking, up: m${number}.up, down: m${number}.down },`,
  ].join('\n')
}

try {
  process.stdout.write(`${await main(process.argv[2], process.argv[3])}\n`)
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`)
  process.exitCode = 1
}
