import path from 'node:path'
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { freePort } from '../../e2e/src/system.ts'
import { apiOf, eventually, removeFolder, temporaryFolder, Up } from './support.ts'

jest.setTimeout(120_000)

let root: string
beforeAll(async () => {
  root = await temporaryFolder()
})
afterAll(() => removeFolder(root))

test('on one machine, one port serves the metrics of controller and gateway when it is set', async () => {
  const port = await freePort()
  const dataDir = path.join(root, 'data')
  await using up = new Up({ CLISCALE_DATA_DIR: dataDir, CLISCALE_METRICS_PORT: String(port) })
  const base = await up.ready()
  const api = await apiOf(base, dataDir)
  const { body } = await api.call('POST', '/api/sessions', { command: 'exit 0' })
  expect((await fetch(`${base}/ws/${String(body['sessionId'])}`)).status).toBe(200)
  const scrape = async (): Promise<string> => (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  const text = await eventually(async () => {
    const now = await scrape()
    return now.includes('cliscale_sessions_ended_total{status="succeeded",reason="none"} 1') ? now : undefined
  }, 30_000)
  for (const line of [
    'cliscale_sessions_created_total 1',
    'cliscale_ws_open{state="spliced"} 0',
    'cliscale_http_request_seconds_count{route="/api/sessions",method="POST",code="2xx"} 1',
    'cliscale_http_request_seconds_count{route="/ws/:id",method="GET",code="2xx"} 1',
    'cliscale_http_request_seconds_count{route="/internal/claim",method="POST",code="2xx"} 1',
  ])
    expect(text).toContain(`${line}\n`)
  expect((await fetch(`${base}/metrics`)).status).toBe(404)
})
