/** The metrics of the built controller, as a scraper sees them. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import type { TestDatabase } from '@cliscale/test-kit'
import { generateSigningKey } from '../src/tokens/signer.ts'
import { createMigratedDatabase } from './database.ts'

const KEY = 'cs_key_canary-12345678'
const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}/

let database: TestDatabase
let dir: string
let child: ChildProcess
let log = ''
beforeAll(async () => {
  database = await createMigratedDatabase()
  dir = await mkdtemp(path.join(os.tmpdir(), 'cliscale-test-'))
  child = spawn(process.execPath, [fileURLToPath(new URL('../dist/main.js', import.meta.url))], {
    env: {
      PATH: process.env['PATH'] ?? '',
      CLISCALE_DATABASE_URL: database.url,
      CLISCALE_API_KEY: KEY,
      CLISCALE_DATA_KEY: randomBytes(32).toString('hex'),
      CLISCALE_SIGNING_KEY: await generateSigningKey(),
      CLISCALE_DATA_DIR: path.join(dir, 'data'),
      CLISCALE_PORT: '0',
      CLISCALE_INTERNAL_PORT: '0',
      CLISCALE_METRICS_PORT: '0',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  child.stdout!.on('data', (data: Buffer) => (log += data.toString()))
})
afterAll(async () => {
  if (child.exitCode === null) {
    child.kill('SIGTERM')
    await once(child, 'exit')
  }
  await database[Symbol.asyncDispose]()
  await rm(dir, { recursive: true, force: true })
})

async function portOf(message: string): Promise<number> {
  for (let tries = 0; tries < 200; tries++) {
    const line = log.split('\n').find((text) => text.includes(`"message":"${message}"`))
    if (line !== undefined) return (JSON.parse(line) as { port: number }).port
    await sleep(50)
  }
  throw new Error(`not logged: ${message}\n${log}`)
}

async function scrape(): Promise<string> {
  return (await fetch(`http://127.0.0.1:${await portOf('metrics are served')}/metrics`)).text()
}

/** The value of a series; undefined when it does not exist. */
function value(text: string, series: string): number | undefined {
  const line = text.split('\n').find((each) => each.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length + 1))
}

test('a session appears in the metrics, and none of its ids does', async () => {
  const base = `http://127.0.0.1:${await portOf('listening')}`
  const before = await scrape()
  expect(value(before, 'cliscale_sessions_created_total')).toBe(0)
  expect(value(before, 'cliscale_signing_keys')).toBe(1)
  const call = (method: string, at: string, body?: unknown) =>
    fetch(base + at, {
      method,
      headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json', 'idempotency-key': 'k1' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  const created = await call('POST', '/api/sessions', { command: 'exit 3' })
  const { sessionId } = (await created.json()) as { sessionId: string }
  expect((await call('POST', '/api/sessions', { command: 'exit 3' })).headers.get('idempotent-replayed')).toBe('true')
  for (let tries = 0; tries < 300; tries++) {
    const view = (await (await call('GET', `/api/sessions/${sessionId}`)).json()) as { status: string }
    if (view.status === 'failed') break
    await sleep(100)
  }
  expect((await call('GET', '/api/sessions/nobody-has-this')).status).toBe(404)
  expect((await fetch(`${base}/admin/${sessionId}`)).status).toBe(404)
  const after = await scrape()
  const route = (template: string, method: string, code: string) =>
    `cliscale_http_request_seconds_count{route="${template}",method="${method}",code="${code}"}`
  expect(value(after, 'cliscale_sessions_created_total')).toBe(1)
  expect(value(after, 'cliscale_launch_seconds_count{result="ok"}')).toBe(1)
  expect(value(after, 'cliscale_sessions_ended_total{status="failed",reason="exit_nonzero"}')).toBe(1)
  expect(value(after, 'cliscale_session_start_seconds_count')).toBe(1)
  expect(value(after, 'cliscale_sessions_open{status="running"}')).toBeDefined()
  expect(value(after, 'cliscale_reconcile_seconds_count')).toBeGreaterThan(0)
  expect(value(after, 'cliscale_reconcile_failing')).toBe(0)
  expect(value(after, 'cliscale_reconcile_lag_seconds')).toBeLessThan(10)
  expect(value(after, 'cliscale_database_connections{state="waiting"}')).toBe(0)
  expect(value(after, route('/api/sessions', 'POST', '2xx'))).toBe(2)
  expect(value(after, route('/api/sessions/:id', 'GET', '4xx'))).toBe(1)
  expect(value(after, route('/internal/claim', 'POST', '2xx'))).toBe(1)
  expect(value(after, route('other', 'GET', '4xx'))).toBe(1)
  const page = await readFile(new URL('../../docs/metrics.md', import.meta.url), 'utf8')
  const names = [...after.matchAll(/^# TYPE (cliscale_\w+) /gm)].map(([, name]) => name)
  expect(names.filter((name) => !page.includes(`| \`${name}\` `))).toEqual([])
  expect(names.length).toBeGreaterThan(12)
  expect(after).not.toMatch(UUID)
  expect(after).not.toContain('nobody-has-this')
})
