import { readFile } from 'node:fs/promises'
import { expect, test } from '@jest/globals'
import { ERRORS, REASONS } from '@cliscale/contract'
import { createTestDatabase } from '@cliscale/test-kit'
import pg from 'pg'
import { migrate } from '../src/db/migrate.ts'
import { dumpSchema } from '../src/db/schema-dump.ts'
import { openApiDocument } from '../src/http/openapi.ts'
import { startApi } from './api-system.ts'

const read = (file: string) => readFile(new URL(`../../${file}`, import.meta.url), 'utf8')

interface Operation {
  readonly responses: Record<string, { readonly description: string }>
}
interface Document {
  readonly paths: Record<string, Record<string, Operation>>
  readonly components: { readonly schemas: { readonly Problem: { readonly properties: { code: { enum: string[] } } } } }
}

test('the OpenAPI document in the repository equals the one that is served', async () => {
  const checkedIn = JSON.parse(await read('docs/api/openapi.json')) as Document
  expect(JSON.parse(JSON.stringify(openApiDocument()))).toEqual(checkedIn)
  await using api = await startApi()
  expect(JSON.parse((await api.call('GET', '/openapi.json')).text)).toEqual(checkedIn)
})

test('the error catalogue, docs/errors.md and the OpenAPI document agree', async () => {
  const document = JSON.parse(await read('docs/api/openapi.json')) as Document
  expect(document.components.schemas.Problem.properties.code.enum).toEqual(Object.keys(ERRORS))
  for (const operation of Object.values(document.paths).flatMap((path) => Object.values(path)))
    for (const [status, { description }] of Object.entries(operation.responses))
      for (const [, code] of description.matchAll(/`([a-z_]+)`: /g))
        expect([code, ERRORS[code as keyof typeof ERRORS].status]).toEqual([code, Number(status)])
  const page = await read('docs/errors.md')
  const listed = [...page.matchAll(/<a id="([a-z_]+)"><\/a>/g)].map(([, code]) => code)
  expect(listed).toEqual(Object.keys(ERRORS))
  for (const reason of Object.keys(REASONS)) expect(page).toContain(`| \`${reason}\``)
})

test('every path of the OpenAPI document is served, with exactly its methods', async () => {
  await using api = await startApi()
  const { paths } = openApiDocument() as Document
  for (const [path, operations] of Object.entries(paths)) {
    const answer = await api.call('PUT', path.replace('{id}', '0d9cbd9f-6e2e-4b7e-9a53-0b2ad6b5d7f3'))
    expect([path, answer.status]).toEqual([path, 405])
    const allowed = (answer.headers.get('allow') ?? '').split(', ').filter((method) => method !== 'HEAD')
    expect([path, allowed]).toEqual([
      path,
      Object.keys(operations)
        .map((method) => method.toUpperCase())
        .toSorted(),
    ])
  }
})

test('schema.sql equals what the migrations make', async () => {
  await using database = await createTestDatabase(async (url) => void (await migrate(url)))
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  const dump = await dumpSchema(client)
  await client.end()
  const checkedIn = await read('controller/src/db/schema.sql')
  expect(checkedIn.slice(checkedIn.indexOf('create'))).toBe(dump)
})
