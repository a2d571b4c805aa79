import { readdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { migrate } from './migrate.ts'

/** `npm run migrate:latest | migrate:rollback | migrate:make -- <name>`, for developers and for the chart's hook. */
async function main(command: string | undefined, name: string | undefined): Promise<string> {
  if (command === 'make') return make(name)
  if (command !== 'latest' && command !== 'rollback')
    throw new Error('usage: migrate-cli latest | rollback | make <name>')
  const url = process.env['CLISCALE_DATABASE_URL']
  if (!url)
    throw new Error('CLISCALE_DATABASE_URL is not set; name the database as postgres://user:password@host/database')
  const names = await migrate(url, command)
  if (names.length === 0) return command === 'latest' ? 'The database is up to date.' : 'There is nothing to take back.'
  return `${command === 'latest' ? 'Ran' : 'Took back'} ${names.join(', ')}.`
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
async function make(name: string | undefined): Promise<string> {
  if (name === undefined || !/^[a-z][a-z0-9-]{0,60}$/.test(name))
    throw new Error('name the migration in kebab-case: npm run migrate:make -w controller -- add-clusters')
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
