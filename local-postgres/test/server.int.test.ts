import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmod,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  readlink,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import pg from 'pg'
import { type LocalPostgres, startPostgres } from '../src/index.ts'

const PASSWORD = 'a password with ünicode and :/@'
let root: string
let started: LocalPostgres[]

beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'cliscale-lp-'))
  await chmod(root, 0o755)
  started = []
})

afterEach(async () => {
  for (const server of started) await server.stop()
  await rm(root, { recursive: true, force: true })
})

async function start(
  dataDir = path.join(root, 'pg'),
  { password = PASSWORD, disposable = true } = {},
): Promise<LocalPostgres> {
  const server = await startPostgres({ dataDir, password, disposable })
  started.push(server)
  return server
}

async function query(server: LocalPostgres, sql: string, password = PASSWORD): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: server.url({ user: 'postgres', password, database: 'postgres' }) })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows
  } finally {
    await client.end()
  }
}

test.each([0o077, 0o027])('starts with umask %o, and later with another', async (mask) => {
  const before = process.umask(mask)
  try {
    await (await start()).stop()
    // As an earlier version left its copy.
    for (const place of [path.join(root, 'pg'), await readlink(path.join(root, 'pg/outside')).catch(() => root)]) {
      for (const name of await readdir(path.join(place, 'programs')).catch(() => []))
        await chmod(path.join(place, 'programs', name, 'native'), 0o700)
    }
  } finally {
    process.umask(before)
  }
  expect(await query(await start(), 'select 1 as one')).toEqual([{ one: 1 }])
})

test('refuses a wrong password and listens on no TCP port', async () => {
  const server = await start()
  await expect(query(server, 'select 1', 'wrong')).rejects.toMatchObject({ code: '28P01' })
  expect(await query(server, 'show listen_addresses')).toEqual([{ listen_addresses: '' }])
})

test('finds the data of the first start at the second, and leaves no process when it stops', async () => {
  const first = await start()
  await query(first, 'create table kept (n int); insert into kept values (7)')
  await first.stop()
  expect(first.isRunning()).toBe(false)
  expect(() => process.kill(first.pid, 0)).toThrow(/ESRCH/)
  const second = await start()
  expect(await query(second, 'select n from kept')).toEqual([{ n: 7 }])
})

test('stops a server that was left behind on the data, and does not use it', async () => {
  const orphan = await start()
  const next = await start()
  expect(next.pid).not.toBe(orphan.pid)
  await orphan.exited
  expect(await query(next, 'select 1 as one')).toEqual([{ one: 1 }])
})

test('starts again on the same data after kill -9 of the server with a busy backend', async () => {
  const durable = { disposable: false }
  const first = await start(undefined, durable)
  await query(first, 'create table kept (n int); insert into kept values (7)')
  const busy = new pg.Client({
    connectionString: first.url({ user: 'postgres', password: PASSWORD, database: 'postgres' }),
  })
  busy.on('error', () => {})
  await busy.connect()
  // A loop that never looks whether its server is still there: it holds the shared memory until it is killed.
  const lost = busy.query("do $$ begin loop perform length(repeat('x', 100)); end loop; end $$").catch(() => 'lost')
  process.kill(first.pid, 'SIGKILL')
  await first.exited
  const second = await start(undefined, durable)
  expect(await query(second, 'select n from kept')).toEqual([{ n: 7 }])
  expect(await lost).toBe('lost')
  await busy.end().catch(() => {})
})

test('makes data anew that a killed start left half made', async () => {
  const dir = path.join(root, 'pg')
  await mkdir(path.join(dir, 'data.draft/base'), { recursive: true })
  await writeFile(path.join(dir, 'data.draft/PG_VERSION'), '18\n')
  const server = await start(dir)
  expect(await query(server, 'select 1 as one')).toEqual([{ one: 1 }])
  expect((await readdir(dir)).sort()).toEqual(['data', 'postgres.log', 'programs', 'run'])
})

test('explains a password that does not fit the data, and data of another version, in one sentence each', async () => {
  const dir = path.join(root, 'pg')
  await (await start(dir)).stop()
  await expect(start(dir, { password: 'another' })).rejects.toThrow(
    /^The password kept for PostgreSQL does not open the data in/,
  )
  await writeFile(path.join(dir, 'data/PG_VERSION'), '12\n')
  await expect(start(dir)).rejects.toThrow(/is of PostgreSQL 12, and this is PostgreSQL \d+\. Move it over/)
})

test('explains in one sentence that the system cannot run a program, and ends no process', async () => {
  const dir = path.join(root, 'pg')
  await (await start(dir)).stop()
  const programs = path.join(await realpath(dir), 'programs')
  const bin = path.join(programs, (await readdir(programs))[0]!, 'native/bin')
  // It prints its version, and no longer exists when it is started as a server.
  await rename(path.join(bin, 'postgres'), path.join(bin, 'kept'))
  await writeFile(path.join(bin, 'postgres'), '#!/bin/sh\nrm "$0"\necho postgres 18.0\n', { mode: 0o755 })
  await expect(start(dir)).rejects.toThrow(/^PostgreSQL could not be run: Error: spawn .* ENOENT$/)
  await rename(path.join(bin, 'kept'), path.join(bin, 'postgres'))
  expect(await query(await start(dir), 'select 1 as one')).toEqual([{ one: 1 }])
})

test('works in a long path with blanks and quotes: the socket moves to the temporary folder', async () => {
  const server = await start(path.join(root, `deep ${'x'.repeat(90)} 'quoted'`, 'pg'))
  expect(server.socketDir.startsWith(os.tmpdir())).toBe(true)
  expect(await query(server, 'select 1 as one')).toEqual([{ one: 1 }])
  await rm(server.socketDir, { recursive: true, force: true })
})

test('refuses a path that PostgreSQL would hand to a shell', async () => {
  await expect(start(path.join(root, 'a$(date)'))).rejects.toThrow(
    /^PostgreSQL cannot work in a folder whose path holds/,
  )
  expect(await readdir(root)).toEqual([])
})

test('removes the programs of another version once nothing runs from them', async () => {
  const dir = path.join(root, 'pg')
  await mkdir(path.join(dir, 'programs/postgresql-1.2.3/native'), { recursive: true })
  await start(dir)
  expect(await readdir(path.join(dir, 'programs'))).toEqual([expect.stringMatching(/^postgresql-\d/)])
})

test('does not stop another process that its pid file names', async () => {
  const dir = path.join(root, 'pg')
  await (await start(dir)).stop()
  const other = spawn('sleep', ['60'])
  try {
    const file = path.join(dir, 'data/postmaster.pid')
    await writeFile(file, `${other.pid}\n${path.join(dir, 'data')}\n`)
    // PostgreSQL itself checks whether that process is another PostgreSQL.
    await start(dir)
    expect(other.exitCode).toBeNull()
    expect(await readFile(file, 'utf8')).not.toContain(`${other.pid}\n`)
  } finally {
    other.kill()
    await once(other, 'exit')
  }
})

if (process.getuid?.() === 0) {
  test('as root, also starts in a folder that only root may enter, and removes files outside that it no longer needs', async () => {
    await chmod(root, 0o700)
    const dir = path.join(root, 'pg')
    const first = await start(dir)
    await query(first, 'create table kept (n int); insert into kept values (7)')
    const outside = await readlink(path.join(dir, 'outside'))
    await first.stop()
    expect(await query(await start(dir), 'select n from kept')).toEqual([{ n: 7 }])

    await rm(dir, { recursive: true })
    await (await start(path.join(root, 'another'))).stop()
    await expect(stat(outside)).rejects.toThrow(/ENOENT/)
    for (const server of started) expect(server.isRunning()).toBe(false)
    await rm(path.join(root, 'another'), { recursive: true })
    await chmod(root, 0o755)
    await start()
  })
} else {
  console.log('Not run as root, so the test of closed folders is not registered.')
}
