/** The built gateway as a process of its own. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { TestDatabase } from '@cliscale/test-kit'
import WebSocket from 'ws'
import { asGateway, createDatabase, createKeys, echoPod, Inbox, type Keys, Rig, until } from './support.ts'

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url))

let database: TestDatabase
let keys: Keys
/** Only to seed and mint. */
let rig: Rig
let jwks: http.Server
let isJwksBroken = false
let fetches = 0
/** Ended after each test, however it ended. */
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

  test('lets nobody in while the keys cannot be had', async () => {
    isJwksBroken = true
    const { child, host } = await startWell()
    const sid = await rig.seed()
    const ws = new WebSocket(`ws://${host}/ws/${sid}?token=${await rig.token(sid)}`, ['cliscale.v1'])
    const [error] = (await once(ws, 'error')) as [Error]
    expect(error.message).toContain('503')
    child.kill('SIGTERM')
    await once(child, 'exit')
  })

  test('does not start with a configuration that cannot be used, and says all that is wrong', async () => {
    const { child, output } = start({ CLISCALE_PORT: 'x', CLISCALE_JWKS: 'http://x' })
    const [code] = await once(child, 'exit')
    expect(code).toBe(78)
    for (const name of ['CLISCALE_PORT', 'CLISCALE_JWKS ', 'CLISCALE_JWKS_URL', 'CLISCALE_DATABASE_URL'])
      expect(output()).toContain(name)
  })
})
