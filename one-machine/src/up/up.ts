import { createServer } from 'node:net'
import { once } from 'node:events'
import path from 'node:path'
import { ConfigError, EXIT_CONFIG, parseEnv } from '@cliscale/service-kit'
import { isGiven, serverEnvironment, type UpSettings, upSchema } from '../settings.ts'
import { type DatabaseUrls, databaseUrls, migrateExisting, prepareDatabase } from './database.ts'
import { defaultDataDir, openDataDir, type Paths } from './data-dir.ts'
import { lockDataDir } from './data-dir-lock.ts'
import { greeting } from './greeting.ts'
import { personEnvironment } from './person-environment.ts'
import { keepPostgres, type PostgresKeeper } from './postgres-keeper.ts'
import type { Printer } from './printer.ts'
import { openSecrets, type Secrets } from './secrets.ts'
import { keepServer, type ServerKeeper, stopLeftServer } from './server-keeper.ts'
import type { Shutdown } from './shutdown.ts'
import { systemFault, UserError } from './user-error.ts'

/** How long sessions and server have to end in order before the server is killed. */
const STOP_LIMIT_MS = 35_000

export interface UpDeps {
  readonly env: NodeJS.ProcessEnv
  readonly home: string
  readonly printer: Printer
  readonly shutdown: Shutdown
  /** Entry file of the server process. */
  readonly serverProgram: string
  /** The sample workload that the greeting's curl line runs. */
  readonly sampleDir: string
  /** Milliseconds since whatever the person started, for "ready after". */
  readonly elapsedMs: () => number
}

/**
 * Runs the whole system on this machine until it is told to stop: PostgreSQL, and one server process with controller
 * and gateway. It serves nothing itself, so it has little to fail by. Returns the exit code.
 *
 * @throws UserError for what a person has to mend.
 */
export async function up(deps: UpDeps): Promise<number> {
  const { env, printer, shutdown } = deps
  const settings = readSettings(env)
  const address = settings.CLISCALE_PORT === 0 ? 'a free port' : addressOf(settings.CLISCALE_PORT)
  const paths = await openDataDir(settings.CLISCALE_DATA_DIR ?? whereByDefault(deps))
  await lockDataDir(paths.root, address)
  await stopLeftServer(paths.serverMark)
  await requireFreePort(settings.CLISCALE_PORT)
  const secrets = await openSecrets(paths)
  try {
    const urls = await startDatabase({ env, settings, paths, secrets, printer, shutdown })
    shutdown.throwIfRequested()
    const server = await printer.step('Starting the server', () => startServer(deps, { paths, secrets, urls }))
    printer.line(
      greeting({
        address: addressOf(server.port),
        key: keyFor(env, paths),
        sampleDir: deps.sampleDir,
        dataDir: paths.root,
        seconds: (deps.elapsedMs() / 1000).toFixed(1),
        extraCaCerts: env['NODE_EXTRA_CA_CERTS'],
      }),
    )
    await shutdown.requested
    printer.line('\nShutting down. Press Ctrl-C again to kill everything immediately.')
  } catch (error) {
    if (!shutdown.isRequested) throw error
  } finally {
    await shutdown.run(printer)
  }
  return 0
}

function readSettings(env: NodeJS.ProcessEnv): UpSettings {
  try {
    return parseEnv(upSchema, env)
  } catch (error) {
    if (error instanceof ConfigError) throw new UserError(error.message, EXIT_CONFIG)
    throw error
  }
}

function whereByDefault({ env, home }: UpDeps): string {
  return defaultDataDir({
    uid: process.getuid?.(),
    platform: process.platform,
    home,
    xdgDataHome: env['XDG_DATA_HOME'],
  })
}

function addressOf(port: number): string {
  return `http://127.0.0.1:${port}`
}

/** Asked for before anything is started, so that the answer comes at once. */
async function requireFreePort(port: number): Promise<void> {
  const probe = createServer().listen(port, '127.0.0.1')
  try {
    await once(probe, 'listening')
    probe.close()
    await once(probe, 'close')
  } catch (error) {
    throw new UserError(portFault(port, error as NodeJS.ErrnoException))
  }
}

function portFault(port: number, { code, message }: NodeJS.ErrnoException): string {
  const mend = 'choose another one with CLISCALE_PORT'
  if (code === 'EADDRINUSE') return `Port ${port} is in use by another program: stop that program, or ${mend}.`
  if (code === 'EACCES') return `Port ${port} needs more rights than you have: ${mend}.`
  return `Port ${port} cannot be used (${message}): ${mend}.`
}

async function startDatabase(parts: {
  env: NodeJS.ProcessEnv
  settings: UpSettings
  paths: Paths
  secrets: Secrets
  printer: Printer
  shutdown: Shutdown
}): Promise<DatabaseUrls> {
  const { env, settings, paths, secrets, printer, shutdown } = parts
  const existing = settings.CLISCALE_DATABASE_URL
  if (existing !== undefined) {
    const gateway = settings.CLISCALE_GATEWAY_DATABASE_URL
    await printer.step('Preparing the database of CLISCALE_DATABASE_URL', () =>
      migrateExisting(existing).catch((error: unknown) => {
        throw new UserError(`The database of CLISCALE_DATABASE_URL cannot be used: ${(error as Error).message}`)
      }),
    )
    return { controller: existing, ...(gateway === undefined ? {} : { gateway }) }
  }
  if (isGiven(env, 'CLISCALE_GATEWAY_DATABASE_URL'))
    throw new UserError('CLISCALE_GATEWAY_DATABASE_URL needs CLISCALE_DATABASE_URL.', EXIT_CONFIG)
  const postgres = await printer.step('Starting PostgreSQL', () => startPostgres(paths, secrets, printer))
  shutdown.add({ name: 'Stopping PostgreSQL', run: () => postgres.stop(), kill: () => postgres.kill() })
  shutdown.throwIfRequested()
  await printer.step('Preparing the database', () => prepareDatabase(postgres.server, secrets))
  return databaseUrls(postgres.server, secrets)
}

function startPostgres(paths: Paths, secrets: Secrets, printer: Printer): Promise<PostgresKeeper> {
  const password = secrets.superuserPassword
  return keepPostgres({ dataDir: paths.postgres, password, printer }).catch((error: unknown) => {
    throw new UserError(systemFault(error) ?? (error as Error).message)
  })
}

async function startServer(
  deps: UpDeps,
  parts: { paths: Paths; secrets: Secrets; urls: DatabaseUrls },
): Promise<ServerKeeper> {
  const { paths, secrets, urls } = parts
  const { env, printer, shutdown } = deps
  const ours = {
    CLISCALE_API_KEY: secrets.apiKey,
    CLISCALE_DATA_KEY: secrets.dataKey,
    CLISCALE_SIGNING_KEY: secrets.signingKey,
    CLISCALE_DATABASE_URL: urls.controller,
    CLISCALE_GATEWAY_DATABASE_URL: urls.gateway ?? urls.controller,
  }
  const missing = Object.entries(ours).filter(([name]) => !isGiven(env, name))
  const server = await keepServer({
    program: deps.serverProgram,
    start: {
      env: { ...serverEnvironment(env), ...Object.fromEntries(missing) },
      dataDir: paths.root,
      runDir: paths.run,
      internalSocket: paths.internalSocket,
    },
    paths,
    printer,
    environment: await personEnvironment(env),
  })
  shutdown.add({
    name: 'Ending sessions and the server',
    run: () => server.stop(STOP_LIMIT_MS),
    kill: () => server.kill(),
  })
  return server
}

function keyFor(env: NodeJS.ProcessEnv, paths: Paths): { file: string } | { variable: string } {
  if (env['CLISCALE_API_KEY_FILE']) return { file: path.resolve(env['CLISCALE_API_KEY_FILE']) }
  return env['CLISCALE_API_KEY'] ? { variable: 'CLISCALE_API_KEY' } : { file: paths.apiKey }
}
