import type { IncomingMessage, ServerResponse } from 'node:http'
import { EventEmitter } from 'node:events'
import { describe, expect, test } from '@jest/globals'
import { createMetrics, expressRoute, poolMetrics, requestMetrics } from './metrics.ts'

const text = async (metrics: ReturnType<typeof createMetrics>): Promise<string> => (await metrics.expose()).text

describe('metrics', () => {
  test('counts a value that is not on its label’s list as other, so that no label can hold an id', async () => {
    const metrics = createMetrics()
    const counter = metrics.counter({ name: 'cliscale_x_total', help: 'X', labels: { code: ['a'] } })
    counter.add({ code: 'a' })
    counter.add({ code: '0d9cbd9f-6e2e-4b7e-9a53-0b2ad6b5d7f3' } as never)
    counter.add({} as never)
    expect(await text(metrics)).toContain('cliscale_x_total{code="a"} 1\ncliscale_x_total{code="other"} 2\n')
  })

  test('starts a counter with few combinations at zero, so that its first rise is visible', async () => {
    const metrics = createMetrics()
    metrics.counter({ name: 'cliscale_x_total', help: 'X', labels: { a: ['1', '2'], b: ['3'] } })
    const many = Array.from({ length: 50 }, (_, i) => `c${i}`)
    metrics.counter({ name: 'cliscale_y_total', help: 'Y', labels: { c: many } })
    expect(await text(metrics)).toContain('cliscale_x_total{a="1",b="3"} 0\ncliscale_x_total{a="2",b="3"} 0\n')
    expect(await text(metrics)).not.toContain('cliscale_y_total{')
  })

  test('samples values at each scrape, and drops those that are gone', async () => {
    const metrics = createMetrics()
    let states: [{ state: 'a' | 'b' }, number][] = [[{ state: 'a' }, 3]]
    metrics.gauge({ name: 'cliscale_x', help: 'X', labels: { state: ['a', 'b'] } }, () => states)
    metrics.sampledCounter({ name: 'cliscale_y_total', help: 'Y' }, () => [[{}, 7]])
    expect(await text(metrics)).toContain('cliscale_x{state="a"} 3\n')
    states = [[{ state: 'b' }, 1]]
    const second = await text(metrics)
    expect(second).toContain('cliscale_x{state="b"} 1\n')
    expect(second).not.toContain('state="a"')
    expect(second).toContain('cliscale_y_total 7\n')
  })

  test('refuses two metrics of the same name', () => {
    const metrics = createMetrics()
    metrics.counter({ name: 'cliscale_x_total', help: 'X' })
    expect(() => metrics.counter({ name: 'cliscale_x_total', help: 'X' })).toThrow('already been registered')
  })

  test('reports the state of a pool', async () => {
    const metrics = createMetrics()
    poolMetrics(metrics, { totalCount: 10, idleCount: 4, waitingCount: 2 })
    for (const line of ['used"} 6', 'idle"} 4', 'waiting"} 2'])
      expect(await text(metrics)).toContain(`cliscale_database_connections{state="${line}\n`)
  })
})

describe('requests', () => {
  const answer = async (options: { status: number; isFinished?: boolean; route?: string; method?: string }) => {
    const metrics = createMetrics()
    const measured = requestMetrics(metrics, ['/api/sessions/:id'])
    const req = { method: options.method ?? 'GET', route: { path: options.route } } as unknown as IncomingMessage
    const res = Object.assign(new EventEmitter(), {
      statusCode: options.status,
      writableFinished: options.isFinished ?? true,
    }) as unknown as ServerResponse
    measured(() => undefined, expressRoute)(req, res)
    res.emit('close')
    return /cliscale_http_request_seconds_count(\{.*\}) 1/.exec(await text(metrics))?.[1]
  }

  test('are counted by the template of their route, the method and the class of their status', async () => {
    expect(await answer({ status: 404, route: '/api/sessions/:id' })).toBe(
      '{route="/api/sessions/:id",method="GET",code="4xx"}',
    )
  })

  test('that the client abandoned count as aborted, whatever the answer would have been', async () => {
    expect(await answer({ status: 200, isFinished: false })).toContain('code="aborted"')
  })

  test('with an unknown route or method count as other, so that no caller’s address or method becomes a label', async () => {
    expect(await answer({ status: 404, route: '/x', method: 'BREW' })).toBe('{route="other",method="other",code="4xx"}')
  })
})
