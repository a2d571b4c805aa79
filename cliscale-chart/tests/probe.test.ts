import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net, { type AddressInfo } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'

const PROBE = fileURLToPath(new URL('../files/probe.mjs', import.meta.url))
const PREFLIGHT = fileURLToPath(new URL('../files/preflight.cjs', import.meta.url))

let dir = ''
let open: net.Server
let address = ''
beforeAll(async () => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'cliscale-probe-'))
  open = net.createServer((socket) => socket.end())
  await once(open.listen(0, '127.0.0.1'), 'listening')
  address = `127.0.0.1:${(open.address() as AddressInfo).port}`
})
afterAll(async () => {
  open.close()
  await once(open, 'close')
  rmSync(dir, { recursive: true })
})

/** Runs a program to its end, with shorter time limits than on a cluster. */
async function run(args: string[], env: Record<string, string> = {}): Promise<{ code: number; said: string }> {
  const child = spawn(process.execPath, args, { env: { PATH: process.env['PATH'] ?? '', ...env } })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString()))
  const [code] = (await once(child, 'close')) as [number]
  return { code, said }
}

async function probe(plan: object) {
  const file = path.join(dir, `plan-${Math.random()}.json`)
  writeFileSync(file, JSON.stringify(plan))
  return run([PROBE, file], { PROBE_SETTLE_MS: '1500' })
}

describe('the program of helm test', () => {
  test('fails and names a target that must not be reachable and is', async () => {
    const { code, said } = await probe({ refused: [{ what: 'the database', address }] })
    expect(code).toBe(1)
    expect(said).toContain(`FAILED: the database (${address}) can be reached; network policies are not enforced here`)
  })

  test('fails when a target that should be reachable is not, or has no name in DNS', async () => {
    const { code, said } = await probe({
      allowed: [
        { what: 'the API', address: '127.0.0.1:1' },
        { what: 'a name', address: 'no-such-host.invalid:80' },
      ],
    })
    expect(code).toBe(1)
    expect(said).toMatch(/FAILED: the API \(127\.0\.0\.1:1\) cannot be reached within 2000 ms: ECONNREFUSED/)
    expect(said).toMatch(/FAILED: a name .* \(DNS\)/)
    expect(said).toContain('2 of the promises are not kept by this cluster.')
  })

  test('passes when everything is as it should be', async () => {
    const plan = {
      refused: [{ what: 'nothing', address: '127.0.0.1:1' }],
      allowed: [{ what: 'the API', address, withinMs: 2000 }],
    }
    expect(await probe(plan)).toMatchObject({ code: 0 })
  })

  test('fails without a plan', async () => {
    expect((await run([PROBE, path.join(dir, 'nothing.json')])).code).not.toBe(0)
  })

  test('answers as the listener until it is told to end', async () => {
    const port = await freePort()
    const file = path.join(dir, 'listener.json')
    writeFileSync(file, JSON.stringify({ listen: port }))
    const child = spawn(process.execPath, [PROBE, file])
    try {
      expect(await probe({ allowed: [{ what: 'the listener', address: `127.0.0.1:${port}` }] })).toMatchObject({
        code: 0,
      })
    } finally {
      child.kill('SIGTERM')
      expect(await once(child, 'close')).toEqual([0, null])
    }
  })
})

describe('the check for Secrets before a migration', () => {
  const look = (secrets: object) => run([PREFLIGHT], { SECRETS: JSON.stringify(secrets), NAMESPACE: 'ws-cli' })

  test('names a missing Secret and what makes it', async () => {
    const secrets = [
      { secret: 'db-of-nobody', keys: ['DATABASE_URL', 'GATEWAY_DATABASE_URL'], value: 'database.existingSecret' },
    ]
    const { code, said } = await look(secrets)
    expect(code).toBe(1)
    expect(said).toContain(
      'Secret db-of-nobody (database.existingSecret) has no DATABASE_URL and no GATEWAY_DATABASE_URL. Make it, then install again:',
    )
    expect(said).toContain(
      'kubectl create secret generic db-of-nobody -n ws-cli --from-literal=DATABASE_URL=… --from-literal=GATEWAY_DATABASE_URL=…',
    )
  })

  test('passes when there is nothing to look for', async () => {
    expect(await look([])).toEqual({ code: 0, said: '' })
  })
})

async function freePort(): Promise<number> {
  const server = net.createServer()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
