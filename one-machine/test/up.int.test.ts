import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, readFile, readdir, rename, rmdir, stat, writeFile } from 'node:fs/promises'
import { connect as connectTo, createServer, type AddressInfo } from 'node:net'
import path from 'node:path'
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals'
import { createTestDatabase } from '@cliscale/test-kit'
import pg from 'pg'
import { apiOf, eventually, processesOf, PROGRAM, removeFolder, serverPid, temporaryFolder, Up } from './support.ts'

// Whole systems take seconds to start, and many more on a machine that is busy with other tests.
jest.setTimeout(120_000)

let root: string
let dataDir: string

beforeEach(async () => {
  root = await temporaryFolder()
  dataDir = path.join(root, 'data')
})

afterEach(async () => {
  expect(await processesOf(root)).toEqual([])
  await removeFolder(root)
})

async function failure(env: Record<string, string>): Promise<{ code: number | null; output: string }> {
  await using up = new Up({ CLISCALE_DATA_DIR: dataDir, ...env })
  const { code } = await up.ended()
  return { code, output: up.output }
}

async function mode(file: string): Promise<string> {
  return ((await stat(file)).mode & 0o777).toString(8)
}

test('reports all configuration faults at once and exits with 78', async () => {
  const { code, output } = await failure({
    CLISCALE_PORT: 'http',
    CLISCALE_PROT: '1',
    CLISCALE_API_KEY: 'short',
    CLISCALE_DATABASE_URL: 'mysql://root:hunter2@db',
    CLISCALE_DATA_DIR: 'relative/folder',
  })
  expect(code).toBe(78)
  for (const name of ['PORT', 'PROT', 'API_KEY', 'DATABASE_URL', 'DATA_DIR'])
    expect(output).toContain(`  - CLISCALE_${name} `)
  expect(output).not.toContain('hunter2')
})

test('refuses one port for two purposes', async () => {
  const { code, output } = await failure({ CLISCALE_PORT: '7080', CLISCALE_METRICS_PORT: '7080' })
  expect(code).toBe(78)
  expect(output).toContain('  - CLISCALE_METRICS_PORT must be a different port from CLISCALE_PORT\n')
})

test('explains in one sentence that a port is in use, before it starts anything', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const { port } = other.address() as AddressInfo
  try {
    const { code, output } = await failure({ CLISCALE_PORT: String(port) })
    expect(code).toBe(1)
    expect(output).toBe(
      `Port ${port} is in use by another program: stop that program, or choose another one with CLISCALE_PORT.\n`,
    )
    expect(await readdir(dataDir)).not.toContain('postgres')
  } finally {
    other.close()
  }
})

test('leaves a folder that holds other files as it is', async () => {
  await mkdir(dataDir, { mode: 0o755 })
  await writeFile(path.join(dataDir, 'thesis.txt'), 'mine')
  const { code, output } = await failure({})
  expect({ code, output }).toEqual({
    code: 1,
    output: `The folder ${dataDir} contains other things and is not a data folder of CLI Scale. Choose another one with CLISCALE_DATA_DIR.\n`,
  })
  expect(await mode(dataDir)).toBe('755')
})

test('explains in one sentence that the data folder cannot be made', async () => {
  await writeFile(dataDir, 'a file')
  const { code, output } = await failure({})
  expect(code).toBe(1)
  expect(output).toMatch(
    /^The data folder .* cannot be used: EEXIST.*\. Choose another one with CLISCALE_DATA_DIR\.\n$/,
  )
})

test.each([
  ['api-key', 'not a key', /^ must contain only letters/],
  ['secrets/data-key', 'hunter2', /^ must be 32 bytes/],
  ['secrets/signing-key.pem', '', /^ is empty/],
])('names a damaged %s and shows nothing of its content', async (name, text, why) => {
  await mkdir(path.join(dataDir, 'secrets'), { recursive: true })
  await writeFile(path.join(dataDir, 'cliscale-data.json'), '')
  await writeFile(path.join(dataDir, name), text)
  const { code, output } = await failure({})
  expect(code).toBe(1)
  expect(output).toMatch(/\. Restore it, or remove it to have a new one made\.\n$/)
  expect(output.slice(path.join(dataDir, name).length)).toMatch(why)
  expect(output).not.toContain('hunter2')
  expect(await readdir(dataDir)).not.toContain('postgres')
})

// Only root may mount.
if (process.platform === 'linux' && process.getuid?.() === 0)
  test.each([
    ['ro', 'read-only', /^The data folder \S+ cannot be used: EROFS: read-only file system, .*\n$/],
    ['size=20m', 'full', /\nCLI Scale cannot continue with \S+: the disk is full\. Make room, or choose another .*\n$/],
  ])('explains in one sentence why a data folder mounted with %s is refused: %s', async (options, _what, sentence) => {
    const disk = path.join(root, 'disk')
    await mkdir(disk)
    const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', disk], { encoding: 'utf8' })
    if (status !== 0) return console.log(`Not tried: nothing may be mounted here (${stderr.trim()})`)
    try {
      const { code, output } = await failure({ CLISCALE_DATA_DIR: path.join(disk, 'data') })
      expect(output).toMatch(sentence)
      expect(code).toBe(1)
    } finally {
      spawnSync('umount', ['--lazy', disk])
    }
  })

test('explains in one sentence that it may not open enough files to load its own code', () => {
  const line = 'ulimit -n 96; exec "$0" "$1" up'
  const { status, stderr } = spawnSync('bash', ['-c', line, process.execPath, PROGRAM], { encoding: 'utf8' })
  expect(stderr).toMatch(/^CLI Scale cannot start, because it may not open enough files\. Raise the limit with: .*\n$/)
  expect(status).toBe(1)
})

test('explains in one sentence that the database cannot be reached, without its password', async () => {
  const { code, output } = await failure({ CLISCALE_DATABASE_URL: 'postgres://me:hunter2@127.0.0.1:1/x' })
  expect(code).toBe(1)
  expect(output).toContain('The database of CLISCALE_DATABASE_URL cannot be used: ')
  expect(output).not.toContain('hunter2')
})

test('serves, keeps its secrets private, refuses a second start, and leaves no process after Ctrl-C', async () => {
  await using up = new Up({ CLISCALE_DATA_DIR: dataDir })
  const base = await up.ready()
  expect(up.output).toMatch(/Starting PostgreSQL … done \(\d+\.\d s\)[\s\S]*Starting the server … done/)
  expect(up.output).toContain(`curl -sS ${base}/api/sessions`)
  expect(up.output).toContain(`$(cat ${dataDir}/api-key)`)
  expect(await readFile(path.join(dataDir, 'api-key'), 'utf8')).toMatch(/^cs_key_[\w-]{43}\n$/)
  for (const file of [
    'api-key',
    'server.log',
    ...(await readdir(path.join(dataDir, 'secrets'))).map((f) => `secrets/${f}`),
  ])
    expect(await mode(path.join(dataDir, file))).toBe('600')
  expect(await mode(path.join(dataDir, 'secrets'))).toBe('700')
  expect(await mode(path.join(dataDir, 'run/internal.sock'))).toBe('600')

  const second = await failure({})
  expect(second.code).toBe(1)
  expect(second.output).toContain(`process ${up.pid}, at`)
  expect(second.output.trim().split('\n')).toHaveLength(1)

  for (const { pid } of await processesOf(dataDir)) {
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')
    expect(environment).not.toMatch(/cs_key_|CLISCALE_(DATA_KEY|SIGNING_KEY|DATABASE_URL)/)
  }
  expect(await up.stop()).toBe(0)
})

test.each(['SIGTERM', 'SIGHUP'] as const)('%s shuts it down in order too', async (signal) => {
  await using up = new Up({ CLISCALE_DATA_DIR: dataDir })
  await up.ready()
  up.kill(signal)
  expect(await up.ended()).toEqual({ code: 0, signal: null })
})

test('a signal during the start ends it and leaves nothing behind', async () => {
  await using up = new Up({ CLISCALE_DATA_DIR: dataDir })
  await up.printed(/Starting PostgreSQL … done/)
  expect(await up.stop()).toBe(0)
  expect(up.output).not.toContain('ready at')
})

test('Ctrl-C while the server hangs ends everything, and sessions end as stopped', async () => {
  await using up = new Up({ CLISCALE_DATA_DIR: dataDir })
  const api = await apiOf(await up.ready(), dataDir)
  const { body } = await api.call('POST', '/api/sessions', { command: 'sleep 1000' })
  const session = `/api/sessions/${String(body['sessionId'])}`
  await eventually(async () => ((await api.call('GET', session)).body['status'] === 'running' ? true : undefined))
  process.kill(await serverPid(dataDir), 'SIGSTOP')
  expect(await up.stop()).toBe(0)
  expect(await processesOf(root)).toEqual([])
  await using next = new Up({ CLISCALE_DATA_DIR: dataDir })
  const again = await apiOf(await next.ready(), dataDir)
  expect((await again.call('GET', session)).body).toMatchObject({ status: 'stopped', reason: 'server_stopped' })
})

test('a second Ctrl-C kills everything at once, sessions included, exits with 130, and the next start works', async () => {
  await using up = new Up({ CLISCALE_DATA_DIR: dataDir })
  const api = await apiOf(await up.ready(), dataDir)
  const { body } = await api.call('POST', '/api/sessions', { command: 'trap "" TERM HUP; sleep 1000; sleep 1000' })
  const session = `/api/sessions/${String(body['sessionId'])}`
  await eventually(async () => ((await api.call('GET', session)).body['status'] === 'running' ? true : undefined))
  process.kill(await serverPid(dataDir), 'SIGSTOP')
  up.kill('SIGINT')
  await new Promise((resolve) => setTimeout(resolve, 700))
  up.kill('SIGINT')
  expect((await up.ended()).code).toBe(130)
  await eventually(async () => ((await processesOf(root)).length === 0 ? true : undefined))
  await using next = new Up({ CLISCALE_DATA_DIR: dataDir })
  const again = await apiOf(await next.ready(), dataDir)
  const end = await eventually(async () => {
    const { body: found } = await again.call('GET', session)
    return found['status'] === 'running' ? undefined : found
  })
  expect(end).toMatchObject({ status: 'lost', reason: 'runner_lost' })
})

test('after kill -9 of the supervisor the server ends by itself, and the next start finds its data', async () => {
  await using up = new Up({ CLISCALE_DATA_DIR: dataDir })
  const api = await apiOf(await up.ready(), dataDir)
  const { body } = await api.call('POST', '/api/sessions', { command: 'exit 0' })
  up.kill('SIGKILL')
  await up.ended()
  await using next = new Up({ CLISCALE_DATA_DIR: dataDir, CLISCALE_PORT: new URL(api.base).port })
  const again = await apiOf(await next.ready(), dataDir)
  const found = await again.call('GET', `/api/sessions/${String(body['sessionId'])}`)
  expect(found).toMatchObject({ status: 200, body: { sessionId: body['sessionId'] } })
})

test('a server and a PostgreSQL that are killed start again on the same address', async () => {
  await using up = new Up({ CLISCALE_DATA_DIR: dataDir })
  const base = await up.ready()
  const ready = (): Promise<true | undefined> =>
    fetch(`${base}/readyz`).then(
      (answer) => answer.ok || undefined,
      () => undefined,
    )
  const [server] = (await processesOf(root)).filter(({ command }) => command.includes('postgres -D'))
  process.kill(server?.pid ?? 0, 'SIGKILL')
  await up.printed(/PostgreSQL died\. Restarting it; sessions keep running\.[\s\S]*PostgreSQL is back\./)
  await eventually(ready)

  process.kill(await serverPid(dataDir), 'SIGKILL')
  await up.printed(/The server died \(SIGKILL\)\. Restarting it; sessions keep running\.[\s\S]*The server is back\./)
  expect(await eventually(ready)).toBe(true)

  // A log that cannot be opened, as on a full disk, keeps the server away for as long as that lasts, and ends nothing.
  const log = path.join(dataDir, 'server.log')
  await rename(log, `${log}.kept`)
  await mkdir(log)
  process.kill(await serverPid(dataDir), 'SIGKILL')
  await up.printed(/The server cannot be started right now: EISDIR/)
  await rmdir(log)
  expect(await eventually(ready)).toBe(true)
  expect(await up.stop()).toBe(0)
})

test('a data folder with blanks, quotes and a long path works, and the command to paste quotes it', async () => {
  dataDir = path.join(root, "it's a folder", 'x'.repeat(100))
  await using up = new Up({ CLISCALE_DATA_DIR: dataDir })
  const base = await up.ready()
  expect((await fetch(`${base}/readyz`)).status).toBe(200)
  expect(up.output).toContain(`$(cat '${root}/it'\\''s a folder/${'x'.repeat(100)}/api-key')`)
  expect(await up.stop()).toBe(0)
})

test('a key file and an existing PostgreSQL replace its own', async () => {
  await using database = await createTestDatabase()
  const keyFile = path.join(root, 'key')
  await writeFile(keyFile, 'cs_key_from_a_file\n')
  await chmod(keyFile, 0o600)
  await using up = new Up({
    CLISCALE_DATA_DIR: dataDir,
    CLISCALE_API_KEY_FILE: keyFile,
    CLISCALE_DATABASE_URL: database.url,
  })
  const base = await up.ready()
  expect(up.output).toContain(`$(cat ${keyFile})`)
  const headers = { authorization: 'Bearer cs_key_from_a_file' }
  expect((await fetch(`${base}/api/sessions`, { headers })).status).toBe(200)
  expect(await readdir(dataDir)).not.toContain('postgres')
  expect(await up.stop()).toBe(0)
  await using client = await connect(database.url)
  expect((await client.query("select from information_schema.tables where table_name = 'sessions'")).rowCount).toBe(1)
})

async function connect(url: string): Promise<pg.Client & AsyncDisposable> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() })
}

test('refuses a foreign Host, for pages and for sockets', async () => {
  await using up = new Up({ CLISCALE_DATA_DIR: dataDir, CLISCALE_PUBLIC_URL: 'https://cli.example' })
  const { port } = new URL(await up.ready())
  const ask = (host: string, extra = ''): Promise<string> =>
    raw(Number(port), `GET /healthz HTTP/1.1\r\nHost: ${host}\r\n${extra}\r\n`)
  // Any port of a loopback name is ours: `ssh -L 9000:localhost:7080` sends its own.
  for (const host of ['127.0.0.1', 'localhost:9000', `LOCALHOST:${port}`, `[::1]:${port}`, 'cli.example'])
    expect(await ask(host)).toMatch(/^HTTP\/1\.1 200 /)
  for (const host of [
    'evil.example',
    `evil.example:${port}`,
    `127.0.0.1.evil.example:${port}`,
    `localhost.evil.example:${port}`,
  ])
    expect(await ask(host)).toMatch(/^HTTP\/1\.1 421 [\s\S]*"code":"host_refused"/)
  const upgrade =
    'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
  expect(await ask(`evil.example:${port}`, upgrade)).toMatch(/^HTTP\/1\.1 421 [\s\S]*"code":"host_refused"/)
  // An upgrade that nobody serves is ignored, but the Host is still checked.
  const offer = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n'
  expect(await ask(`127.0.0.1:${port}`, offer)).toMatch(/^HTTP\/1\.1 200 /)
  expect(await ask(`evil.example:${port}`, offer)).toMatch(/^HTTP\/1\.1 421 [\s\S]*"code":"host_refused"/)
})

test('a client that closes its side behind its request gets its answer, from the API and for pages', async () => {
  await using up = new Up({ CLISCALE_DATA_DIR: dataDir })
  const base = new URL(await up.ready())
  const key = (await readFile(path.join(dataDir, 'api-key'), 'utf8')).trim()
  const ask = async (head: string): Promise<string> => {
    const socket = connectTo({ port: Number(base.port), host: '127.0.0.1', allowHalfOpen: true })
    let answer = ''
    socket.on('data', (chunk) => (answer += chunk.toString()))
    socket.end(`${head}\r\nHost: ${base.host}\r\n\r\n`)
    await once(socket, 'close')
    return answer
  }
  expect(await ask(`GET /api/sessions HTTP/1.1\r\nAuthorization: Bearer ${key}`)).toMatch(
    /^HTTP\/1\.1 200 [^]*"sessions":\[\]/,
  )
  expect(await ask('GET / HTTP/1.1')).toMatch(/^HTTP\/1\.1 200 [^]*<\/html>/)
})

/** Sends bytes and reads until the end, or for as long as an answer takes. */
async function raw(port: number, text: string): Promise<string> {
  const socket = connectTo(port, '127.0.0.1')
  let answer = ''
  socket.on('data', (chunk) => (answer += chunk.toString()))
  socket.write(text)
  await eventually(() => Promise.resolve(/\r\n\r\n[\s\S]*\}/.test(answer) || socket.destroyed ? true : undefined))
  socket.destroy()
  return answer
}
