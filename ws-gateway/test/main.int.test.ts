/** The built gateway as a process of its own. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import http from 'node:http'
import path from 'node:path'
import net, { type AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { TestDatabase } from '@cliscale/test-kit'
import WebSocket from 'ws'
import { startPgProxy } from '../../e2e/src/pg-proxy.ts'
import { asGateway, createDatabase, createKeys, echoPod, Inbox, type Keys, Rig, until } from './support.ts'

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url))

let database: TestDatabase
let keys: Keys
/** Used only to seed sessions and mint tokens. */
let rig: Rig
let jwks: http.Server
let isJwksBroken = false
let fetches = 0
/** Ended after each test, whatever its result. */
const children = new Set<ChildProcess>()

beforeAll(async () => {
  database = await createDatabase()
  keys = await createKeys()
  rig = await Rig.start(database, keys)
  jwks = http.createServer((_req, res) => {
    fetches += 1
    res.statusCode = isJwksBroken ? 500 : 200
    res.end(isJwksBroken ? 'garbage' : JSON.stringify(keys.jwks))
  })
  jwks.listen(0, '127.0.0.1')
  await once(jwks, 'listening')
})
afterEach(async () => {
  isJwksBroken = false
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  children.clear()
})
afterAll(async () => {
  jwks.close()
  await rig[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

function start(env: Record<string, string>): { child: ChildProcess; output: () => string } {
  const child = spawn(process.execPath, [MAIN], { env: { PATH: process.env['PATH'] ?? '', ...env } })
  children.add(child)
  let text = ''
  child.stdout.on('data', (chunk) => (text += String(chunk)))
  child.stderr.on('data', (chunk) => (text += String(chunk)))
  return { child, output: () => text }
}

async function startWell(
  env: Record<string, string> = {},
): Promise<{ child: ChildProcess; output: () => string; host: string }> {
  const started = start({
    CLISCALE_DATABASE_URL: asGateway(database.url),
    CLISCALE_JWKS_URL: `http://127.0.0.1:${(jwks.address() as AddressInfo).port}/jwks.json`,
    CLISCALE_POD_NETWORKS: '127.0.0.0/8',
    CLISCALE_PORT: '0',
    CLISCALE_LAME_DUCK_SECONDS: '0',
    ...env,
  })
  const port = await until(() => /"address":\{[^}]*"port":(\d+)/.exec(started.output())?.[1], 15_000)
  return { ...started, host: `127.0.0.1:${port}` }
}

describe('the gateway’s process', () => {
  test('opens terminals, fetches the keys once, and ends in order on SIGTERM', async () => {
    await using pod = await echoPod()
    const { child, output, host } = await startWell()
    expect((await fetch(`http://${host}/healthz`)).status).toBe(200)
    fetches = 0
    expect((await fetch(`http://${host}/readyz`)).status).toBe(200)
    expect((await fetch(`http://${host}/readyz`)).status).toBe(200)
    const sid = await rig.seed({ port: pod.port })
    const waiting = await rig.seed({ status: 'queued' })
    const open = async (id: string): Promise<Inbox> => {
      const ws = new WebSocket(`ws://${host}/ws/${id}?token=${await rig.token(id)}`, ['cliscale.v1'])
      const inbox = new Inbox(ws)
      await once(ws, 'open')
      return inbox
    }
    const [first, second] = await Promise.all([open(sid), open(waiting), open(sid), open(sid)])
    first.socket.send(Buffer.from('0x'))
    expect(await until(() => first.of('0')[0])).toBe('x')
    expect(fetches).toBe(1)
    const unknown = await rig.sign(rig.claims(sid), { kid: 'unknown' })
    const answers = await Promise.all(
      Array.from({ length: 30 }, () =>
        fetch(`http://${host}/ws/${sid}/redeem`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ token: unknown }),
        }).then((response) => response.status),
      ),
    )
    expect(new Set(answers)).toEqual(new Set([401]))
    expect(fetches).toBe(1)
    child.kill('SIGTERM')
    const [code] = await once(child, 'exit')
    expect(code).toBe(0)
    expect(await until(() => second.closed)).toMatchObject({ code: 1012 })
    expect(output()).not.toContain('token=')
    expect(output()).not.toContain(asGateway(database.url))
  })

  test('ends in order although a client never finishes its request', async () => {
    const { child, host } = await startWell()
    const silent = net.connect(Number(host.split(':')[1]), '127.0.0.1').on('error', () => {})
    await once(silent, 'connect')
    const toldAt = Date.now()
    child.kill('SIGTERM')
    expect((await once(child, 'exit'))[0]).toBe(0)
    expect(Date.now() - toldAt).toBeLessThan(5_000)
    silent.destroy()
  })

  test('opens no terminal while the keys cannot be fetched', async () => {
    isJwksBroken = true
    const { child, host } = await startWell()
    const sid = await rig.seed()
    const ws = new WebSocket(`ws://${host}/ws/${sid}?token=${await rig.token(sid)}`, ['cliscale.v1'])
    const [error] = (await once(ws, 'error')) as [Error]
    expect(error.message).toContain('503')
    child.kill('SIGTERM')
    await once(child, 'exit')
  })

  test('is alive without database and keys, ready once it has both, and no longer ready while it leaves', async () => {
    isJwksBroken = true
    // It names a Unix socket and no host, which URL does not read.
    const at = new URL(database.url.replace('@/', '@local/'))
    const socket = path.join(at.searchParams.get('host') ?? '', '.s.PGSQL.5432')
    const { port } = await startPgProxy(socket).then(async (proxy) => {
      await proxy[Symbol.asyncDispose]()
      return proxy
    })
    const url = `postgresql://${at.username}:${at.password}@127.0.0.1:${port}${at.pathname}?options=-c%20role%3Dcliscale_gateway`
    const { child, host } = await startWell({ CLISCALE_DATABASE_URL: url, CLISCALE_LAME_DUCK_SECONDS: '1' })
    const status = async (what: string): Promise<number> => (await fetch(`http://${host}/${what}`)).status
    expect([await status('healthz'), await status('readyz')]).toEqual([200, 503])
    isJwksBroken = false
    expect([await status('healthz'), await status('readyz')]).toEqual([200, 503])
    await using _there = await startPgProxy(socket, port)
    await until(async () => (await status('readyz')) === 200, 10_000)
    // Keys that were fetched are kept: a controller that is away closes no gateway.
    isJwksBroken = true
    expect(await status('readyz')).toBe(200)
    child.kill('SIGTERM')
    await until(async () => (await status('readyz')) === 503)
    expect(await status('healthz')).toBe(200)
    expect((await once(child, 'exit'))[0]).toBe(0)
  })

  test('serves its metrics on a port of their own, without any id', async () => {
    await using pod = await echoPod()
    const { host, output } = await startWell({ CLISCALE_METRICS_PORT: '0' })
    const port = await until(() => /"port":(\d+),"message":"metrics are served"/.exec(output())?.[1])
    const sid = await rig.seed({ port: pod.port })
    const [spliced, waiting] = await Promise.all(
      [sid, await rig.seed({ status: 'queued' })].map(async (id) => {
        const ws = new WebSocket(`ws://${host}/ws/${id}?token=${await rig.token(id)}`, ['cliscale.v1'])
        const inbox = new Inbox(ws)
        await once(ws, 'open')
        return inbox
      }),
    )
    spliced!.socket.send(Buffer.from('0x'))
    await until(() => spliced!.of('0')[0])
    await once(new WebSocket(`ws://${host}/ws/${sid}?token=used-up`, ['cliscale.v1']), 'error')
    expect((await fetch(`http://${host}/ws/${sid}`)).status).toBe(200)
    expect((await fetch(`http://${host}/`)).status).toBe(200)
    expect((await fetch(`http://${host}/metrics`)).status).toBe(404)
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
    for (const line of [
      'cliscale_ws_open{state="spliced"} 1',
      'cliscale_ws_open{state="waiting"} 1',
      'cliscale_ws_accepted_total 2',
      'cliscale_ws_refused_total{code="token_invalid"} 1',
      'cliscale_ws_pod_ready_seconds_count 1',
      'cliscale_jwks_fetch_failures_total 0',
      'cliscale_ws_closed_total{cause="target_refused"} 0',
      'cliscale_http_request_seconds_count{route="/",method="GET",code="2xx"} 1',
      'cliscale_http_request_seconds_count{route="/ws/:id",method="GET",code="2xx"} 1',
    ])
      expect(text).toContain(`${line}\n`)
    expect(text).toMatch(/cliscale_ws_bytes_total\{direction="out"\} [1-9]/)
    const page = await readFile(new URL('../../docs/metrics.md', import.meta.url), 'utf8')
    const names = [...text.matchAll(/^# TYPE (cliscale_\w+) /gm)].map(([, name]) => name)
    expect(names.filter((name) => !page.includes(`| \`${name}\` `))).toEqual([])
    expect(names.length).toBeGreaterThan(8)
    expect(text).not.toMatch(/[0-9a-f]{8}-[0-9a-f]{4}/)
    for (const inbox of [spliced!, waiting!]) inbox.socket.terminate()
  })

  test('says in one sentence that its port is taken', async () => {
    const { port } = jwks.address() as AddressInfo
    const { child, output } = start({
      CLISCALE_DATABASE_URL: asGateway(database.url),
      CLISCALE_JWKS_URL: 'http://127.0.0.1:1/jwks.json',
      CLISCALE_PORT: String(port),
    })
    expect((await once(child, 'exit'))[0]).toBe(78)
    expect(output()).toContain(`CLISCALE_PORT: port ${port} of 127.0.0.1 is in use by another program`)
    expect(output()).not.toContain('    at ')
  })

  test('refuses to start with a configuration that cannot be used, and lists all that is wrong', async () => {
    const { child, output } = start({ CLISCALE_PORT: 'x', CLISCALE_JWKS: 'http://x' })
    const [code] = await once(child, 'exit')
    expect(code).toBe(78)
    for (const name of ['CLISCALE_PORT', 'CLISCALE_JWKS ', 'CLISCALE_JWKS_URL', 'CLISCALE_DATABASE_URL'])
      expect(output()).toContain(name)
  })
})
