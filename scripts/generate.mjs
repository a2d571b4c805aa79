/**
 * `npm run generate -w controller`: writes what is made from code, so that it cannot say something else: the OpenAPI
 * document, the list of errors, the tables of settings, the chart's list of networks, and the database's schema. Needs a
 * build.
 */
import { mkdir, mkdtemp, chmod, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { startPostgres } from '@cliscale/local-postgres'
import pg from 'pg'
import { format, resolveConfig } from 'prettier'
import { errorsPage, metricsPage, settingsPage } from './generated-pages.mjs'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const load = (file) => import(pathToFileURL(path.join(root, file)).href)

const { openApiDocument } = await load('controller/dist/http/openapi.js')
await write('docs/api/openapi.json', JSON.stringify(openApiDocument()))

const { ERRORS, REASONS } = await load('contract/dist/index.js')
await write('docs/errors.md', errorsPage(ERRORS, REASONS))

const { NON_PUBLIC_V4, NON_PUBLIC_V6 } = await load('contract/dist/address.js')
const networks = { v4: NON_PUBLIC_V4, v6: NON_PUBLIC_V6 }
await write('cliscale-chart/files/non-public-networks.json', JSON.stringify(networks))

const parts = [
  { title: 'On one machine: `cliscale up`', env: (await load('one-machine/dist/settings.js')).UP_ENV },
  { title: 'Controller', env: (await load('controller/dist/config.js')).CONTROLLER_PROCESS_ENV },
  { title: 'Rotation of the signing key', env: (await load('controller/dist/config.js')).ROTATION_ENV },
  { title: 'Gateway', env: (await load('ws-gateway/dist/config.js')).GATEWAY_PROCESS_ENV },
]
await write('docs/config.md', settingsPage(parts))

await write('docs/metrics.md', metricsPage(await metricParts()))

await writeFile(path.join(root, 'controller/src/db/schema.sql'), await schema())

/** What each program registers, in a registry of its own that nobody reads. */
async function metricParts() {
  const { createMetrics, poolMetrics, requestMetrics } = await load('service-kit/dist/metrics.js')
  const controller = await load('controller/dist/metrics.js')
  const gateway = await load('ws-gateway/dist/metrics.js')
  const [ofController, ofGateway] = [createMetrics(), createMetrics()]
  controller.createControllerMetrics(ofController, { signingKeys: () => 0 })
  requestMetrics(ofController, controller.CONTROLLER_ROUTES)
  poolMetrics(ofController, {})
  gateway.createGatewayMetrics(ofGateway, () => ({}))
  gateway.keyMetrics(ofGateway)
  requestMetrics(ofGateway, gateway.GATEWAY_ROUTES)
  poolMetrics(ofGateway, {})
  return [
    { title: 'Controller', rows: ofController.rows },
    { title: 'Gateway', rows: ofGateway.rows },
  ]
}

/** Formatted as `npm run check` wants it. */
async function write(file, text) {
  const target = path.join(root, file)
  await mkdir(path.dirname(target), { recursive: true })
  await writeFile(target, await format(text, { ...(await resolveConfig(target)), filepath: target }))
}

/** Of a database that the migrations have made from nothing. */
async function schema() {
  const { migrate } = await load('controller/dist/db/migrate.js')
  const { dumpSchema } = await load('controller/dist/db/schema-dump.js')
  const dataDir = await mkdtemp(path.join(os.tmpdir(), 'cliscale-generate-'))
  await chmod(dataDir, 0o755)
  const server = await startPostgres({ dataDir, password: 'generate', disposable: true })
  try {
    const url = server.url({ user: 'postgres', password: 'generate', database: 'postgres' })
    await migrate(url)
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    const text = await dumpSchema(client)
    await client.end()
    return `-- Made by "npm run generate -w controller" from the migrations. Do not edit.\n\n${text}`
  } finally {
    await server.stop()
    await rm(dataDir, { recursive: true, force: true })
  }
}
