import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chown, mkdir, open, readFile, rm, stat, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import { type Account, postgresAccount } from './account.ts'
import { installBinaries } from './binaries.ts'

export type { Account } from './account.ts'

const run = promisify(execFile)

export interface LocalPostgresOptions {
  /** Folder for programs, data, log and socket; made when absent. Whoever runs PostgreSQL must be able to enter its parents. */
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
 *
 * @throws Error with the log's last lines when it does not answer in time.
 */
export async function startPostgres(options: LocalPostgresOptions): Promise<LocalPostgres> {
  const account = await postgresAccount()
  await mkdir(options.dataDir, { recursive: true, mode: 0o755 })
  const binaries = await installBinaries(path.join(options.dataDir, 'programs'))
  const data = path.join(options.dataDir, 'data')
  const socketDir = await makeSocketDir(options.dataDir, account)
  await stopOrphan(data)
  if (!(await stat(path.join(data, 'PG_VERSION')).catch(() => undefined))) {
    await initialise(binaries.initdb, data, options, account)
  }
  const log = path.join(options.dataDir, 'postgres.log')
  const logFile = await open(log, 'w')
  const child = spawn(binaries.postgres, ['-D', data, ...settings(socketDir, options.disposable === true)], {
    ...account,
    cwd: '/',
    detached: true,
    stdio: ['ignore', logFile.fd, logFile.fd],
    env: { PATH: process.env['PATH'], TZ: 'UTC' },
  })
  await logFile.close()
  let running = true
  child.once('exit', () => (running = false))
  child.once('error', () => (running = false))
  const server: LocalPostgres = {
    pid: child.pid ?? 0,
    socketDir,
    url: ({ user, password, database }) =>
      `postgresql://${encodeURIComponent(user)}:${encodeURIComponent(password)}@/${encodeURIComponent(database)}?host=${encodeURIComponent(socketDir)}`,
    isRunning: () => running,
    stop: async () => {
      if (running) await stopProcess(server.pid)
    },
  }
  await waitUntilReady(server, options, log)
  return server
}

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

async function initialise(
  initdb: string,
  data: string,
  options: LocalPostgresOptions,
  account?: Account,
): Promise<void> {
  await rm(data, { recursive: true, force: true })
  await mkdir(data, { recursive: true, mode: 0o700 })
  const passwordFile = path.join(options.dataDir, `.password.${process.pid}`)
  await writeFile(passwordFile, options.password, { mode: 0o600 })
  try {
    if (account) {
      await chown(data, account.uid, account.gid)
      await chown(passwordFile, account.uid, account.gid)
    }
    await run(
      initdb,
      [
        '-D',
        data,
        '-U',
        'postgres',
        `--pwfile=${passwordFile}`,
        '-A',
        'scram-sha-256',
        '-E',
        'UTF8',
        '--locale=C',
        '--no-instructions',
        ...(options.disposable ? ['--no-sync'] : []),
      ],
      { ...account, cwd: '/', env: { PATH: process.env['PATH'], TZ: 'UTC' } },
    )
  } catch (cause) {
    await rm(data, { recursive: true, force: true })
    const why = (cause as { stderr?: string }).stderr?.trim().split('\n').at(-1) ?? String(cause)
    throw new Error(`PostgreSQL's data could not be made in ${data}: ${why}`, { cause })
  } finally {
    await rm(passwordFile, { force: true })
  }
}

/** A Unix socket's path may have 107 bytes; a data folder deep in the tree gets its socket in the temporary folder. */
async function makeSocketDir(dataDir: string, account?: Account): Promise<string> {
  const near = path.join(dataDir, 'run')
  const short = path.join(
    os.tmpdir(),
    `cliscale-pg-${createHash('sha256').update(path.resolve(dataDir)).digest('hex').slice(0, 16)}`,
  )
  const dir = Buffer.byteLength(near) <= 80 ? near : short
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const owner = await stat(dir)
  const expected = [process.getuid?.(), account?.uid]
  if (!expected.includes(owner.uid))
    throw new Error(`${dir} belongs to another user; remove it or choose another data folder.`)
  if (account) await chown(dir, account.uid, account.gid)
  return dir
}

async function stopOrphan(data: string): Promise<void> {
  const text = await readFile(path.join(data, 'postmaster.pid'), 'utf8').catch(() => '')
  const pid = Number(text.split('\n')[0])
  if (!Number.isInteger(pid) || pid <= 1) return
  const command = await run('ps', ['-o', 'command=', '-p', String(pid)]).then(
    (r) => r.stdout,
    () => '',
  )
  // A pid may have been given to another program since; ours carries its data folder in its command line.
  if (command.includes('postgres') && command.includes(data)) await stopProcess(pid)
}

async function stopProcess(pid: number): Promise<void> {
  for (const [signal, patienceMs] of [
    ['SIGINT', 20_000],
    ['SIGQUIT', 5_000],
    ['SIGKILL', 5_000],
  ] as const) {
    try {
      process.kill(pid, signal)
    } catch {
      return
    }
    for (let waited = 0; waited < patienceMs; waited += 20) {
      if (!isAlive(pid)) return
      await sleep(20)
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

async function waitUntilReady(server: LocalPostgres, options: LocalPostgresOptions, log: string): Promise<void> {
  const deadline = Date.now() + (options.startTimeoutMs ?? 60_000)
  let last: unknown
  while (server.isRunning() && Date.now() < deadline) {
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
      last = error
      if ((error as { code?: string }).code === '28P01') break
      await sleep(50)
    }
  }
  await server.stop()
  const tail = (await readFile(log, 'utf8').catch(() => '')).trim().split('\n').slice(-3).join(' | ')
  throw new Error(
    `PostgreSQL did not start (${(last as Error | undefined)?.message ?? 'it ended'}). Its log says: ${tail}`,
  )
}
