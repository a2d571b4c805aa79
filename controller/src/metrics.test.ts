import { createMetrics, type Metrics } from '@cliscale/service-kit/metrics'
import { beforeEach, expect, test } from '@jest/globals'
import { type ControllerMetrics, createControllerMetrics } from './metrics.ts'

let now = 0
let served: Metrics
let metrics: ControllerMetrics
beforeEach(() => {
  now = 0
  served = createMetrics()
  metrics = createControllerMetrics(served, { signingKeys: () => 1, backends: [null, 'b'], now: () => now })
})

async function value(series: string): Promise<number> {
  const { text } = await served.expose()
  return Number(
    text
      .split('\n')
      .find((line) => line.startsWith(`${series} `))
      ?.split(' ')
      .at(-1),
  )
}

test('a backend that fails is not hidden by one that is well', async () => {
  metrics.passed('b', { seconds: 1, isOk: false })
  metrics.passed(null, { seconds: 1, isOk: true })
  expect(await value('cliscale_reconcile_failing')).toBe(1)
  metrics.passed('b', { seconds: 1, isOk: true })
  expect(await value('cliscale_reconcile_failing')).toBe(0)
})

test('a backend whose passes never end lags, whatever the others do', async () => {
  now = 60_000
  metrics.passed(null, { seconds: 1, isOk: true })
  expect(await value('cliscale_reconcile_lag_seconds')).toBe(60)
  metrics.passed('b', { seconds: 1, isOk: true })
  expect(await value('cliscale_reconcile_lag_seconds')).toBe(0)
})

test('open and waiting sessions are those of all backends, each by its last pass', async () => {
  metrics.saw(null, ['running', 'queued', 'running'])
  metrics.saw('b', ['running'])
  metrics.sawWaits(null, ['image_pull'])
  metrics.sawWaits('b', ['image_pull', 'unschedulable'])
  expect(await value('cliscale_sessions_open{status="running"}')).toBe(3)
  expect(await value('cliscale_sessions_waiting{reason="image_pull"}')).toBe(2)
  metrics.saw('b', [])
  metrics.sawWaits('b', [])
  expect(await value('cliscale_sessions_open{status="running"}')).toBe(2)
  expect(await value('cliscale_sessions_waiting{reason="unschedulable"}')).toBeNaN()
})
