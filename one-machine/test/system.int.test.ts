import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals'
import {
  decodeServerMessage,
  encodeClientHello,
  type ServerMessage,
  STOP_LIMITS,
  V1_PROTOCOL,
} from '@cliscale/contract'
import WebSocket from 'ws'
import { type Api, apiOf, eventually, processesOf, removeFolder, serverPid, temporaryFolder, Up } from './support.ts'

const SAMPLE = path.resolve(import.meta.dirname, '../../sample-cli')
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

interface Session {
  readonly sessionId: string
  readonly wsUrl: string
  readonly terminalUrl: string
}

async function create(api: Api, request: Record<string, unknown>): Promise<Session> {
  const { status, body } = await api.call('POST', '/api/sessions', request)
  expect({ status, body }).toMatchObject({ status: 201 })
  return body as unknown as Session
}

async function view(api: Api, id: string): Promise<Record<string, unknown>> {
  return (await api.call('GET', `/api/sessions/${id}`)).body
}

function ended(api: Api, id: string): Promise<Record<string, unknown>> {
  return eventually(async () => {
    const session = await view(api, id).catch(() => ({ status: 'unknown' }))
    return ['succeeded', 'failed', 'stopped', 'expired', 'lost'].includes(String(session['status']))
      ? session
      : undefined
  }, 60_000)
}

/** Watches a session to its end, as the page does: its output, its exit, and how the socket was closed. */
async function watch(url: string): Promise<{ output: string; messages: ServerMessage[]; closeCode: number }> {
  const socket = new WebSocket(url, [V1_PROTOCOL])
  const messages: ServerMessage[] = []
  socket.on('open', () => socket.send(encodeClientHello({ columns: 100, rows: 30 })))
  socket.on('message', (data: Buffer) => messages.push(decodeServerMessage(data)))
  const closeCode = await new Promise<number>((resolve, reject) => {
    socket.once('error', reject)
    socket.once('close', resolve)
  })
  const output = Buffer.concat(messages.flatMap((m) => (m.type === 'data' ? [m.bytes] : []))).toString()
  return { output, messages, closeCode }
}

test('the greeting’s sample runs: one call creates it, its link shows it, its log is kept, and it ends with its exit code', async () => {
  await using up = new Up({ CLISCALE_DATA_DIR: dataDir })
  const api = await apiOf(await up.ready(), dataDir)
  expect(up.output).toContain(`"code_url":${JSON.stringify(SAMPLE)},"command":"node index.js run"`)

  const session = await create(api, {
    code_url: SAMPLE,
    command: 'node index.js run --seconds 1 --exit 3',
    prompt: 'count to three, bitte “schön”',
    ...trust(),
  })
  const page = await fetch(session.terminalUrl)
  expect(page.status).toBe(200)
  expect(page.headers.get('content-type')).toMatch(/^text\/html/)

  const seen = await watch(session.wsUrl)
  expect(seen.closeCode).toBe(1000)
  expect(seen.output).toContain('Count the primes below 2,000,000: 148,933')
  expect(seen.output).toContain('count to three, bitte “schön”')
  expect(seen.output).toContain(session.sessionId)
  expect(seen.messages.find((m) => m.type === 'exit')).toMatchObject({
    exit: { status: 'failed', reason: 'exit_nonzero', exitCode: 3 },
  })

  const end = await ended(api, session.sessionId)
  expect(end).toMatchObject({ status: 'failed', exitCode: 3, signal: null })
  expect((end['stages'] as { name: string }[]).map((stage) => stage.name)).toEqual(
    expect.arrayContaining(['queued', 'fetching_code', 'installing', 'running']),
  )
  expect(await api.text(`/api/sessions/${session.sessionId}/logs`)).toContain(seen.output)
})

test('a link opens one terminal, and only once', async () => {
  await using up = new Up({ CLISCALE_DATA_DIR: dataDir })
  const api = await apiOf(await up.ready(), dataDir)
  const session = await create(api, { command: 'echo once; sleep 2' })
  const first = watch(session.wsUrl)
  await first
  await expect(watch(session.wsUrl)).rejects.toThrow(/401/)
}, 60_000)

test('a session gets the search path and version managers of the user who started the system, and nothing that npm added', async () => {
  const before = '/me/node_modules/.bin:/usr/local/bin:/usr/bin:/bin'
  const ofNpm = '/clone/node_modules/.bin:/node_modules/.bin:/npm/lib/node-gyp-bin'
  const npm = { PATH: `${ofNpm}:${before}`, npm_execpath: '/npm/cli.js', npm_config_registry: 'x' }
  await using up = new Up({ CLISCALE_DATA_DIR: dataDir, ...npm, RUSTUP_HOME: '/opt/rustup', CARGO_HOME: '/me/.cargo' })
  const api = await apiOf(await up.ready(), dataDir)
  const { sessionId } = await create(api, { command: 'env' })
  expect(await ended(api, sessionId)).toMatchObject({ status: 'succeeded' })
  const lines = (await api.text(`/api/sessions/${sessionId}/logs`)).split('\r\n')
  const node = path.dirname(process.execPath)
  expect([`PATH=${before}`, `PATH=${before}:${node}`]).toContain(lines.find((line) => line.startsWith('PATH=')))
  expect(lines).toContain('RUSTUP_HOME=/opt/rustup')
  expect(lines.filter((line) => /^(npm_|CARGO_)/.test(line))).toEqual([])
})

test('a program can make a Unix socket two folders down in its TMPDIR, of which nothing is left after the session', async () => {
  const long = path.join(root, 'd'.repeat(Math.max(1, 60 - root.length - 1)))
  await using up = new Up({ CLISCALE_DATA_DIR: long })
  const api = await apiOf(await up.ready(), long)
  // Node would cut the path short; where Python is, it is Python that failed.
  const script = `const dir = process.env.TMPDIR + '/pymp-abcdefgh'; require('fs').mkdirSync(dir)
    require('net').createServer().listen(dir + '/listener-abcdefgh', () => {
      console.log(require('fs').readdirSync(dir) + ' in ' + process.env.TMPDIR); process.exit(0) })`
  const { sessionId } = await create(api, { command: 'exec node -e "$SCRIPT"', env: { SCRIPT: script } })
  expect(await ended(api, sessionId)).toMatchObject({ status: 'succeeded' })
  const [, tmp] = /listener-abcdefgh in (\S+)/.exec(await api.text(`/api/sessions/${sessionId}/logs`))!
  await eventually(async () => (existsSync(tmp!) ? undefined : true))
  expect(await up.stop()).toBe(0)
  await removeFolder(path.dirname(tmp!))
}, 60_000)

test('sessions keep running when the server is killed, and when PostgreSQL is killed', async () => {
  await using up = new Up({ CLISCALE_DATA_DIR: dataDir })
  const api = await apiOf(await up.ready(), dataDir)
  const command = 'for i in $(seq 1 80); do echo line $i; sleep 0.1; done; exit 5'
  const sessions = await Promise.all([1, 2, 3].map(() => create(api, { command })))
  for (const { sessionId } of sessions)
    await eventually(async () => ((await view(api, sessionId))['status'] === 'running' ? true : undefined))

  process.kill(await serverPid(dataDir), 'SIGKILL')
  await up.printed(/The server is back\./)
  const pid = Number((await readFile(path.join(dataDir, 'postgres/data/postmaster.pid'), 'utf8')).split('\n')[0])
  process.kill(pid, 'SIGKILL')
  await up.printed(/PostgreSQL is back\./)

  const lines = Array.from({ length: 80 }, (_, i) => `line ${i + 1}\r\n`).join('')
  for (const { sessionId } of sessions) {
    expect(await ended(api, sessionId)).toMatchObject({ status: 'failed', reason: 'exit_nonzero', exitCode: 5 })
    expect(await api.text(`/api/sessions/${sessionId}/logs`)).toContain(lines)
  }
})

test('Ctrl-C ends running sessions as stopped, tells their viewers, and leaves none of their processes', async () => {
  await using up = new Up({ CLISCALE_DATA_DIR: dataDir })
  const api = await apiOf(await up.ready(), dataDir)
  const session = await create(api, { command: 'setsid sleep 1000 & trap "" TERM; echo begun; sleep 1000' })
  const watching = watch(session.wsUrl)
  await eventually(async () =>
    (await api.text(`/api/sessions/${session.sessionId}/logs`)).includes('begun') ? true : undefined,
  )
  expect(await up.stop()).toBe(0)
  const seen = await watching
  expect(seen.messages.find((m) => m.type === 'exit')).toMatchObject({
    exit: { status: 'stopped', reason: 'server_stopped' },
  })

  await using next = new Up({ CLISCALE_DATA_DIR: dataDir })
  const again = await apiOf(await next.ready(), dataDir)
  expect(await view(again, session.sessionId)).toMatchObject({ status: 'stopped', reason: 'server_stopped' })
  expect(await again.text(`/api/sessions/${session.sessionId}/logs`)).toContain('begun')
})

test('a stop while the host hangs lets the program finish, and tells how it ended, well before the end by force', async () => {
  await using up = new Up({ CLISCALE_DATA_DIR: dataDir })
  const api = await apiOf(await up.ready(), dataDir)
  const command = `trap 'sleep 1; echo bye; exit 5' TERM; echo up; while :; do sleep 0.1; done`
  const { sessionId } = await create(api, { command })
  const log = (): Promise<string> => api.text(`/api/sessions/${sessionId}/logs`)
  await eventually(async () => ((await log()).includes('up') ? true : undefined))
  const [host] = (await processesOf(sessionId)).filter(({ command: line }) => /host(\/main)?\.js/.test(line))
  process.kill(host!.pid, 'SIGSTOP')
  const since = performance.now()
  await api.call('DELETE', `/api/sessions/${sessionId}`)
  expect(await ended(api, sessionId)).toMatchObject({ status: 'stopped', reason: 'stopped_by_user', exitCode: 5 })
  expect(performance.now() - since).toBeLessThan(STOP_LIMITS.machineMs)
  expect(await log()).toMatch(/^up\r\n(Terminated\r\n)?bye\r\n$/)
})

test('a host that hangs after it has passed a stop on loses neither the last output nor the exit code', async () => {
  await using up = new Up({ CLISCALE_DATA_DIR: dataDir })
  const api = await apiOf(await up.ready(), dataDir)
  const command = `trap 'echo asked; sleep 2; echo cleaned; exit 6' TERM; echo up; while :; do sleep 0.1; done`
  const { sessionId } = await create(api, { command })
  const log = (): Promise<string> => api.text(`/api/sessions/${sessionId}/logs`)
  await eventually(async () => ((await log()).includes('up') ? true : undefined))
  const [host] = (await processesOf(sessionId)).filter(({ command: line }) => /host(\/main)?\.js/.test(line))
  const since = performance.now()
  await api.call('DELETE', `/api/sessions/${sessionId}`)
  await eventually(async () => ((await log()).includes('asked') ? true : undefined))
  process.kill(host!.pid, 'SIGSTOP')
  expect(await ended(api, sessionId)).toMatchObject({ status: 'stopped', reason: 'stopped_by_user', exitCode: 6 })
  expect(performance.now() - since).toBeLessThan(STOP_LIMITS.machineMs)
  expect(await log()).toMatch(/asked\r\ncleaned\r\n$/)
})

test('a stop of a session whose work is suspended lets its program finish, and tells how it ended', async () => {
  await using up = new Up({ CLISCALE_DATA_DIR: dataDir })
  const api = await apiOf(await up.ready(), dataDir)
  const command = `trap 'echo cleaned; exit 6' TERM; echo up; while :; do sleep 0.1; done`
  const { sessionId } = await create(api, { command })
  const log = (): Promise<string> => api.text(`/api/sessions/${sessionId}/logs`)
  await eventually(async () => ((await log()).includes('up') ? true : undefined))
  const [work] = (await processesOf(sessionId)).filter(({ command: line }) => /work(er)?(\/main)?\.js/.test(line))
  process.kill(work!.pid, 'SIGSTOP')
  await api.call('DELETE', `/api/sessions/${sessionId}`)
  expect(await ended(api, sessionId)).toMatchObject({ status: 'stopped', reason: 'stopped_by_user', exitCode: 6 })
  expect(await log()).toMatch(/cleaned\r\n$/)
})

/** A session sees nothing of our environment; behind a proxy with a certificate of its own npm has to be told of it. */
function trust(): { env?: Record<string, string> } {
  const file = process.env['NODE_EXTRA_CA_CERTS']
  return file ? { env: { NODE_EXTRA_CA_CERTS: file } } : {}
}
