import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:fs'
import { createHash } from 'node:crypto'
import { chown, lstat, mkdir, open, readFile, realpath, rename, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import { type Account, postgresAccount } from './account.ts'
import { type Binaries, installBinaries, removeOtherBinaries } from './binaries.ts'
import { stopLeftovers, stopProcess } from './leftovers.ts'
import { placeFor } from './place.ts'

const run = promisify(execFile)
const { O_APPEND, O_CREAT, O_TRUNC, O_WRONLY } = constants

export interface LocalPostgresOptions {
  /** Folder for programs, data, log and socket; made when absent. */
  readonly dataDir: string
  /** Password of the superuser `postgres` (scram); it is set when the data is first made. */
  readonly password: string
  /** Give up durability for speed; for tests. */
  readonly disposable?: boolean
  /** How long a start may take, in milliseconds. */
  readonly startTimeoutMs?: number
}

export interface LocalPostgres {
  readonly pid: number
  /** Where clients connect: a folder that holds the Unix socket. */
  readonly socketDir: string
  /** What it says; written to by appending. */
  readonly log: string
  /** Resolves when the server process has gone, for whatever reason. */
  readonly exited: Promise<void>
  /** Connection URL for a role and database. */
  url(options: { user: string; password: string; database: string }): string
  /** Whether the server process still runs. */
  isRunning(): boolean
  /** Fast shutdown: open transactions are rolled back. Resolves when the process has gone. */
  stop(): Promise<void>
}

/**
 * Starts PostgreSQL on a Unix socket only, with scram for everyone. The server is a process group of its own, so that
 * Ctrl-C reaches our caller first. A server that an earlier process of ours left behind on the same data is stopped.
 * The caller stops it.
 *
 * @throws Error with the log's last lines when it does not answer in time; or with what to do about the folder.
 */
export async function startPostgres(options: LocalPostgresOptions): Promise<LocalPostgres> {
  // initdb hands its paths to a shell in double quotes.
  const bad = /["$`\\\n]/.exec(options.dataDir)?.[0]
  if (bad !== undefined)
    throw new Error(`PostgreSQL cannot work in a folder whose path holds ${JSON.stringify(bad)}: ${options.dataDir}`)
  const account = await postgresAccount()
  await mkdir(options.dataDir, { recursive: true, mode: 0o755 })
  // PostgreSQL's processes show the real path as their working folder and in their command line.
  const dataDir = await placeFor(await realpath(options.dataDir), account)
  const programs = path.join(dataDir, 'programs')
  const binaries = await installBinaries(programs)
  const data = path.join(dataDir, 'data')
  const socketDir = await makeSocketDir(dataDir, account)
  await stopLeftovers(data)
  await ensureData({ binaries, data, account, options: { ...options, dataDir } })
  const log = path.join(dataDir, 'postgres.log')
  const server = await spawnServer({ binaries, data, account, socketDir, log, disposable: options.disposable === true })
  await waitUntilReady(server, options, log)
  await removeOtherBinaries(programs, binaries)
  return server
}

async function spawnServer(parts: {
  binaries: Binaries
  data: string
  account: Account | undefined
  socketDir: string
  log: string
  disposable: boolean
}): Promise<LocalPostgres> {
  const { binaries, data, account, socketDir } = parts
  const logFile = await open(parts.log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0o600)
  try {
    const child = spawn(binaries.postgres, ['-D', data, ...settings(socketDir, parts.disposable)], {
      ...ids(account),
      cwd: '/',
      detached: true,
      stdio: ['ignore', logFile.fd, logFile.fd],
      env: { PATH: process.env['PATH'], TZ: 'UTC' },
    })
    let running = true
    // Before anything is awaited: Node tells a refusal on the next tick, and without a listener by then it would end us.
    const exited = once(child, 'exit').then(
      () => void (running = false),
      () => void (running = false),
    )
    const { pid } = child
    if (pid === undefined) throw new Error(`PostgreSQL could not be run: ${String((await once(child, 'error'))[0])}`)
    return {
      pid,
      socketDir,
      log: parts.log,
      exited,
      url: ({ user, password, database }) =>
        `postgresql://${encodeURIComponent(user)}:${encodeURIComponent(password)}@/${encodeURIComponent(database)}?host=${encodeURIComponent(socketDir)}`,
      isRunning: () => running,
      stop: async () => {
        if (running) await stopProcess(pid)
        await exited
      },
    }
  } finally {
    await logFile.close()
  }
}

function ids(account: Account | undefined): { uid?: number; gid?: number } {
  return account === undefined ? {} : { uid: account.uid, gid: account.gid }
}

/** SQLSTATE invalid_password. */
const WRONG_PASSWORD = '28P01'

function settings(socketDir: string, disposable: boolean): string[] {
  const all: Record<string, string> = {
    listen_addresses: '',
    unix_socket_directories: socketDir,
    unix_socket_permissions: '0700',
    max_connections: '100',
    shared_buffers: '64MB',
    timezone: 'UTC',
    ...(disposable ? { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', max_connections: '300' } : {}),
  }
  // The socket's folder is 0700 and owned by whoever connects; when that is root it passes every permission anyway.
  return Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])
}

/** Makes the data, once. It grows in a draft beside its place, so that a start that is killed leaves nothing half made. */
async function ensureData(parts: {
  binaries: Binaries
  data: string
  account: Account | undefined
  options: LocalPostgresOptions
}): Promise<void> {
  const { binaries, data } = parts
  const found = await readFile(path.join(data, 'PG_VERSION'), 'utf8').catch(() => undefined)
  if (found === undefined) return initialise(parts)
  const { stdout } = await run(binaries.postgres, ['--version'])
  const major = /(\d+)/.exec(stdout)?.[1]
  if (found.trim() !== major) {
    throw new Error(
      `The data in ${data} is of PostgreSQL ${found.trim()}, and this is PostgreSQL ${major}. Move it over with pg_dump, or choose another data folder.`,
    )
  }
}

async function initialise(parts: {
  binaries: Binaries
  data: string
  account: Account | undefined
  options: LocalPostgresOptions
}): Promise<void> {
  const { data, account, options } = parts
  const draft = `${data}.draft`
  const passwordFile = path.join(options.dataDir, '.password')
  try {
    await rm(draft, { recursive: true, force: true })
    await mkdir(draft, { mode: 0o700 })
    await rm(passwordFile, { force: true })
    await writeFile(passwordFile, options.password, { mode: 0o600, flag: 'wx' })
    if (account) for (const file of [draft, passwordFile]) await chown(file, account.uid, account.gid)
    const args = ['-D', draft, '-U', 'postgres', `--pwfile=${passwordFile}`, '-A', 'scram-sha-256', '-E', 'UTF8']
    args.push('--locale=C', '--no-instructions', ...(options.disposable ? ['--no-sync'] : []))
    await run(parts.binaries.initdb, args, { ...ids(account), cwd: '/', env: { PATH: process.env['PATH'], TZ: 'UTC' } })
    await rm(data, { recursive: true, force: true })
    await rename(draft, data)
  } catch (cause) {
    await rm(draft, { recursive: true, force: true }).catch(() => {})
    const { stderr } = cause as { stderr?: string }
    const why = stderr?.trim() ? initdbFault(stderr) : (cause as Error).message
    throw new Error(`PostgreSQL's data could not be made in ${data}: ${why}`, { cause })
  } finally {
    await rm(passwordFile, { force: true }).catch(() => {})
  }
}

/** Why initdb failed: its first error, or that of the server it runs; its last line tells only what it removes. */
export function initdbFault(stderr: string): string {
  return /(?:error|FATAL|PANIC): +(.*)/.exec(stderr)?.[1] ?? stderr.trim().split('\n').at(-1)!
}

/** A Unix socket's path may have 107 bytes; a data folder deep in the tree gets its socket in the temporary folder. */
async function makeSocketDir(dataDir: string, account?: Account): Promise<string> {
  const near = path.join(dataDir, 'run')
  const hash = createHash('sha256').update(dataDir).digest('hex').slice(0, 16)
  const dir = Buffer.byteLength(near) <= 80 ? near : path.join(os.tmpdir(), `cliscale-pg-${hash}`)
  await mkdir(dir, { recursive: true, mode: 0o700 })
  // In the shared temporary folder somebody else may have made it first, or a link in its place.
  const made = await lstat(dir)
  if (!made.isDirectory() || ![process.getuid?.(), account?.uid].includes(made.uid))
    throw new Error(`${dir} is not a folder of ours; remove it or choose another data folder.`)
  if (account) await chown(dir, account.uid, account.gid)
  return dir
}

async function waitUntilReady(server: LocalPostgres, options: LocalPostgresOptions, log: string): Promise<void> {
  const deadline = Date.now() + (options.startTimeoutMs ?? 60_000)
  let last: { code?: string; message?: string } = {}
  while (server.isRunning() && Date.now() < deadline && last.code !== WRONG_PASSWORD) {
    const client = new pg.Client({
      connectionString: server.url({ user: 'postgres', password: options.password, database: 'postgres' }),
      connectionTimeoutMillis: 2000,
    })
    client.on('error', () => {})
    try {
      await client.connect()
      await client.end()
      return
    } catch (error) {
      last = error as Error
      await sleep(50)
    }
  }
  const why = server.isRunning() ? (last.message ?? 'it does not answer') : 'it ended'
  await server.stop()
  if (last.code === WRONG_PASSWORD)
    throw new Error(`The password kept for PostgreSQL does not open the data in ${options.dataDir}.`)
  const tail = (await readFile(log, 'utf8').catch(() => '')).trim().split('\n').slice(-3).join(' | ')
  throw new Error(`PostgreSQL did not start (${why}). Its log says: ${tail}`)
}
