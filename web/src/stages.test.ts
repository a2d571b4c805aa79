import { describe, expect, test } from '@jest/globals'
import type { StatusMessage } from '@cliscale/contract/terminal'
import { addStatus, type SeenStage } from './stages.ts'

const T0 = Date.parse('2026-01-01T00:00:00Z')
const status = (name: StatusMessage['status'], stage: StatusMessage['stage'], seconds: number): StatusMessage => ({
  status: name,
  stage,
  since: new Date(T0 + seconds * 1000).toISOString(),
  reason: null,
  hint: null,
})
const add = (statuses: StatusMessage[], offset = 0): SeenStage[] =>
  statuses.reduce<SeenStage[]>((seen, next) => addStatus(seen, next, offset), [])

describe('addStatus', () => {
  test('each stage ends where the next begins', () => {
    const seen = add([
      status('queued', null, 0),
      status('starting', 'fetching_code', 2),
      status('running', 'running', 5),
    ])
    expect(seen).toEqual([
      { name: 'queued', startedAt: T0, endedAt: T0 + 2000 },
      { name: 'fetching_code', startedAt: T0 + 2000, endedAt: T0 + 5000 },
      { name: 'running', startedAt: T0 + 5000, endedAt: undefined },
    ])
  })

  test('a status that is repeated every 5 s is one stage, which began the first time', () => {
    expect(add([status('queued', 'queued', 0), status('queued', 'queued', 5)])).toEqual([
      { name: 'queued', startedAt: T0, endedAt: undefined },
    ])
  })

  test('a final status ends the stage in progress', () => {
    expect(add([status('starting', 'installing', 0), status('failed', null, 3)])).toEqual([
      { name: 'installing', startedAt: T0, endedAt: T0 + 3000 },
    ])
  })

  test('a server whose clock is ahead does not put stages into the future', () => {
    expect(add([status('queued', null, 60)], 60_000)[0]?.startedAt).toBe(T0)
  })
})
