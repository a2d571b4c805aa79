import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FinalReport } from '@cliscale/contract'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { type Launched, type LaunchFault, LauncherUnavailable, LaunchRefused } from '../src/launch/launcher.ts'
import { NO_METRICS } from '../src/metrics.ts'
import type { Reconciler } from '../src/reconcile/reconciler.ts'
import type { ReconcilersDeps } from '../src/reconcile/reconcilers.ts'
import { createStore, type Store, type TestRow } from './host-api-system.ts'
import { expectEventually } from './launch-contract.ts'
import { reconcilerOf, TIMINGS } from './reconcile-system.ts'
import { ScriptedLauncher } from './scripted-launcher.ts'

let store: Store
let launcher: ScriptedLauncher
let reconcilers: Reconciler[]
beforeEach(async () => {
  store = await createStore()
  launcher = new ScriptedLauncher()
  reconcilers = []
  start()
})
afterEach(async () => {
  for (const one of reconcilers) await one.close()
  await store[Symbol.asyncDispose]()
})

function start(extra: Partial<ReconcilersDeps> = {}): Reconciler {
  const one = reconcilerOf(store, launcher, extra)
  one.start()
  reconcilers.push(one)
  return one
}
async function restart(extra: Partial<ReconcilersDeps>): Promise<void> {
  for (const one of reconcilers.splice(0)) await one.close()
  start(extra)
}
const waiting = { launchId: 'pod', progress: 'scheduling' } as const
const running = { launchId: 'pod', progress: 'running' } as const
const over = { launchId: 'pod', progress: 'ended' } as const
const image = (detail: string): LaunchFault => ({ reason: 'image_pull', detail })
const report = (of: Partial<FinalReport>): FinalReport => ({
  status: 'succeeded',
  reason: null,
  detail: null,
  exitCode: 0,
  signal: null,
  ...of,
})

const until = (id: string, check: (row: TestRow) => boolean, limitMs = 10_000): Promise<TestRow> =>
  expectEventually(async () => {
    const row = await store.session(id)
    return check(row) && row
  }, limitMs)
const ended = (id: string): Promise<TestRow> => until(id, (row) => row.ended_at !== null)
const endpoint = async (id: string) =>
  (await store.pool.query<Record<string, unknown>>('select * from session_endpoints where session_id = $1', [id]))
    .rows[0]

/** A session that is launched. */
async function launched(columns: Record<string, unknown> = {}): Promise<string> {
  const id = await store.createSession(columns)
  await expectEventually(() => Promise.resolve(launcher.entries.has(id)))
  return id
}
/** A session that its pod `pod` has claimed, as the internal API writes it. */
async function claimed(
  columns: Record<string, unknown> = {},
  ...entries: Omit<Launched, 'sessionId'>[]
): Promise<string> {
  const started = { status: 'running', pod_uid: 'pod', claimed_at: new Date(), launched_at: new Date() }
  const id = await store.createSession({ ...started, ...columns })
  launcher.say(id, ...(entries.length === 0 ? [running] : entries))
  return id
}

describe('before the claim', () => {
  test('a pod that is scheduled and does not run yet pulls its image, once in the timeline', async () => {
    const id = await launched()
    launcher.say(id, waiting)
    await sleep(250)
    expect(await store.session(id)).toMatchObject({ status: 'scheduling', stage: 'scheduling' })
    launcher.say(id, { ...waiting, progress: 'pulling_image' })
    const row = await until(id, ({ status }) => status === 'starting')
    expect(row).toMatchObject({ stage: 'pulling_image', pod_uid: null })
    expect(row.stages.map((entry) => [entry.name, entry.endedAt === null])).toEqual([
      ['queued', false],
      ['scheduling', false],
      ['pulling_image', true],
    ])
    launcher.say(id, running)
    await sleep(250)
    expect((await store.session(id)).stages).toHaveLength(3)
  })

  test('the reason for a wait is stored only when it changes, and removed when the session goes on', async () => {
    const id = await launched()
    const wait = { reason: 'unschedulable', detail: 'No node has room: 0/3 nodes are available.' } as const
    launcher.say(id, { ...waiting, wait })
    const row = await until(id, ({ wait_reason: reason }) => reason === 'unschedulable')
    expect(row).toMatchObject({ status: 'scheduling', wait_detail: wait.detail, reason: null })
    await sleep(350)
    expect((await store.session(id))['updated_at']).toEqual(row['updated_at'])
    launcher.say(id, running)
    await until(id, ({ wait_reason: reason }) => reason === null)
  })

  test('the reason for a wait ends a session that waits too long; without one it is the queue limit', async () => {
    await restart({ queueLimitSeconds: 1 })
    const [room, quota, none] = await Promise.all([launched(), launched(), launched()])
    launcher.say(room, { ...waiting, wait: { reason: 'unschedulable', detail: 'Nowhere is room.' } })
    // A Job whose pod may not be made has none.
    launcher.say(quota, {
      launchId: undefined,
      progress: 'scheduling',
      wait: { reason: 'launch_failed', detail: 'exceeded quota: pods=10' },
    })
    expect(await ended(room)).toMatchObject({ status: 'failed', reason: 'unschedulable', detail: 'Nowhere is room.' })
    expect(await ended(quota)).toMatchObject({ reason: 'launch_failed', detail: 'exceeded quota: pods=10' })
    expect(await ended(none)).toMatchObject({ reason: 'queue_deadline', wait_reason: null })
    await expectEventually(() => Promise.resolve(launcher.entries.size === 0))
  })

  test('an image that cannot be pulled is tried again for a while, and then ends the session', async () => {
    const [id, other] = [await launched(), await launched()]
    const from = Date.now()
    launcher.say(id, {
      ...waiting,
      progress: 'pulling_image',
      wait: image('no/such:1 cannot be pulled yet. Not found.'),
    })
    launcher.say(other, { ...waiting, progress: 'pulling_image', wait: image('again') })
    await until(id, ({ wait_reason: reason }) => reason === 'image_pull')
    await sleep(300)
    launcher.say(other, { ...waiting, progress: 'pulling_image' })
    expect(await ended(id)).toMatchObject({
      status: 'failed',
      reason: 'image_pull',
      detail: 'no/such:1 cannot be pulled. Not found.',
    })
    expect(Date.now() - from).toBeGreaterThan(TIMINGS.pullLimitMs - 100)
    await expectEventually(() => Promise.resolve(!launcher.entries.has(id)))
    expect(await store.session(other)).toMatchObject({ status: 'starting', wait_reason: null })
  })

  test('the image that cannot be pulled may be the command’s, after the host has claimed', async () => {
    const wait = image('no/such:1 cannot be pulled: not found.')
    const id = await claimed({ status: 'starting' }, { ...running, progress: 'pulling_image', wait })
    expect(await ended(id)).toMatchObject({ status: 'failed', reason: 'image_pull', detail: wait.detail })
    await expectEventually(() => Promise.resolve(!launcher.entries.has(id)))
  })

  test('a fault that no retry can mend ends the session; one of the machine launches it again', async () => {
    const [bad, evicted] = [await launched(), await launched()]
    launcher.say(bad, { ...waiting, fault: image('"NO such" is not the name of an image.') })
    expect(await ended(bad)).toMatchObject({
      status: 'failed',
      reason: 'image_pull',
      detail: expect.stringContaining('not the name'),
    })
    launcher.say(evicted, { ...over, fault: { reason: 'evicted', detail: 'The node was drained.' } })
    await expectEventually(() => Promise.resolve(launcher.count(evicted) === 2))
    expect(launcher.removed).toContainEqual([evicted, 'pod'])
    expect((await store.session(evicted)).status).toBe('scheduling')
    expect(await store.count('session_orders', evicted)).toBe(1)
  })

  test('launches that end without a claim are made again, but not for ever', async () => {
    const id = await launched()
    const stop = setInterval(() => launcher.entries.has(id) && launcher.say(id, over), 20)
    const row = await until(id, ({ status }) => status === 'failed', 20_000)
    clearInterval(stop)
    expect(row).toMatchObject({ reason: 'launch_failed' })
    expect(launcher.count(id)).toBe(5)
  }, 30_000)
})

test('a launch that is refused for good ends its session with the words of the refusal', async () => {
  launcher.launchError = new LaunchRefused('The cluster refuses the session’s Job. It has no label "team".')
  const id = await store.createSession()
  expect(await until(id, (row) => row.ended_at !== null, 20_000)).toMatchObject({
    status: 'failed',
    reason: 'launch_failed',
    detail: 'The cluster refuses the session’s Job. It has no label "team".',
  })
}, 30_000)

describe('an unavailable launcher', () => {
  test('uses up no tries of a session, is not asked all the time, and is the reason that viewers see', async () => {
    launcher.launchError = new LauncherUnavailable('the API server did not answer')
    const ids = await Promise.all(Array.from({ length: 30 }, () => store.createSession()))
    await sleep(4_000)
    expect(launcher.launches.length).toBeGreaterThan(4)
    expect(launcher.launches.length).toBeLessThan(30)
    const rows = await Promise.all(ids.map((id) => store.session(id)))
    expect(rows.every((row) => row.ended_at === null)).toBe(true)
    expect(rows.filter((row) => row['wait_reason'] === 'launch_failed').length).toBeGreaterThan(0)
    expect(rows.find((row) => row['wait_reason'])).toMatchObject({
      wait_detail: expect.stringContaining('the API server did not answer'),
    })
    launcher.launchError = undefined
    for (const id of ids) await expectEventually(() => Promise.resolve(launcher.entries.has(id)), 20_000)
    for (const id of ids) await until(id, (row) => row['wait_reason'] === null)
  }, 60_000)

  test('ends a session at its queue limit and not before, also when nothing can be listed', async () => {
    await restart({ queueLimitSeconds: 2 })
    launcher.launchError = new LauncherUnavailable('away')
    launcher.listError = new Error('away')
    const [id, stopped] = [await store.createSession(), await store.createSession()]
    await sleep(1_000)
    expect((await store.session(id)).ended_at).toBeNull()
    await store.pool.query('update sessions set stop_requested_at = now() where id = $1', [stopped])
    expect(await ended(stopped)).toMatchObject({ status: 'stopped', reason: 'stopped_by_user' })
    expect(await ended(id)).toMatchObject({
      status: 'failed',
      reason: 'launch_failed',
      detail: 'The session cannot be launched: away.',
    })
  })

  test('loses no claimed session', async () => {
    const id = await claimed()
    launcher.listError = new Error('away')
    await sleep(1_000)
    expect((await store.session(id)).status).toBe('running')
  })
})

describe('after the claim', () => {
  test.each([
    [
      'its report',
      { report: report({ status: 'failed', reason: 'exit_nonzero', exitCode: 3 }) },
      ['failed', 'exit_nonzero', 3, null],
    ],
    ['a report of success', { report: report({}) }, ['succeeded', null, 0, null]],
    [
      'the reason for a kill, when its host saw only the kill',
      {
        report: report({ status: 'lost', reason: 'runner_lost', exitCode: null }),
        fault: { reason: 'oom_killed', detail: 'It used more than 2Gi.' },
      },
      ['failed', 'oom_killed', null, null],
    ],
    ['its memory', { fault: { reason: 'oom_killed', detail: 'x' } }, ['failed', 'oom_killed', null, null]],
    ['its disk', { fault: { reason: 'disk_full', detail: 'x' } }, ['failed', 'disk_full', null, null]],
    ['an eviction', { fault: { reason: 'evicted', detail: 'x' } }, ['lost', 'evicted', null, null]],
    ['the loss of its node', { fault: { reason: 'node_lost', detail: 'x' } }, ['lost', 'node_lost', null, null]],
    ['the deadline of its Job', { fault: { reason: 'deadline', detail: 'x' } }, ['expired', 'deadline', null, null]],
    ['no known reason', {}, ['lost', 'runner_lost', null, null]],
  ] as [string, Partial<Launched>, unknown[]][])(
    'a launch that ended ends its session with %s',
    async (_, words, expected) => {
      const id = await claimed()
      await sleep(150)
      const from = Date.now()
      launcher.say(id, { ...over, ...words })
      const row = await ended(id)
      expect([row.status, row['reason'], row['exit_code'], row['signal']]).toEqual(expected)
      expect(Date.now() - from).toBeGreaterThanOrEqual(TIMINGS.lostGraceMs - 20)
      // Ended, it needs no time for its viewers.
      await expectEventually(() => Promise.resolve(!launcher.entries.has(id)), 2_000)
    },
  )

  test('a launch that vanished ends its session with what was last known of it', async () => {
    const [evicted, told] = [await claimed(), await claimed()]
    launcher.say(evicted, { ...running, fault: { reason: 'evicted', detail: 'The node was drained.' } })
    launcher.say(told, { ...over, report: report({ exitCode: 0 }) })
    await sleep(250)
    launcher.say(evicted)
    launcher.say(told)
    expect(await ended(evicted)).toMatchObject({ status: 'lost', reason: 'evicted', detail: 'The node was drained.' })
    expect(await ended(told)).toMatchObject({ status: 'succeeded', reason: null })
  })

  test('the fate of another launch, or of an earlier Job, does not end the session', async () => {
    const id = await claimed()
    launcher.say(id, running, { launchId: 'twin', progress: 'ended', fault: { reason: 'oom_killed', detail: 'x' } })
    await expectEventually(() => Promise.resolve(launcher.removed.length > 0))
    expect(launcher.removed).toEqual([[id, 'twin']])
    launcher.say(id)
    expect(await ended(id)).toMatchObject({ reason: 'runner_lost' })
  })

  test('a host that still reports while its pod terminates is waited for, but not for ever', async () => {
    const id = await claimed()
    launcher.say(id, { ...running, fault: { reason: 'evicted', detail: 'The node was drained.' } })
    await sleep(TIMINGS.faultGraceMs - 300)
    expect((await store.session(id)).status).toBe('running')
    expect(await ended(id)).toMatchObject({ status: 'lost', reason: 'evicted' })
  })

  test('a process that is killed for memory does not end a command that goes on', async () => {
    const id = await claimed()
    launcher.say(id, { ...running, fault: { reason: 'oom_killed', detail: 'x' } })
    await sleep(TIMINGS.faultGraceMs + 500)
    expect((await store.session(id)).status).toBe('running')
  })

  test('a launcher that does not know the pod yet is given time', async () => {
    launcher.refreshError = new LauncherUnavailable('away')
    const unheard = { launchId: undefined, progress: 'scheduling' } as const
    const [id, lost, ...others] = await Promise.all(Array.from({ length: 10 }, () => claimed({}, unheard)))
    await sleep(TIMINGS.lostGraceMs + 500)
    for (const one of [id!, lost!, ...others]) expect((await store.session(one)).status).toBe('running')
    // After a refresh it knows all of them except one.
    launcher.onRefresh = () => {
      for (const one of [id!, ...others]) launcher.say(one, running)
    }
    launcher.refreshes = 0
    launcher.refreshError = undefined
    expect(await ended(lost!)).toMatchObject({ reason: 'runner_lost' })
    expect(launcher.refreshes).toBeLessThan(3)
    for (const one of [id!, ...others]) expect((await store.session(one)).status).toBe('running')
  })

  test('the endpoint is stored, follows the launch, and is removed at its end', async () => {
    const id = await claimed()
    launcher.say(id, { ...running, address: { host: '10.1.2.3', port: 7681 } })
    await expectEventually(async () => (await endpoint(id))?.['pod_ip'] === '10.1.2.3')
    launcher.say(id, { ...over, report: report({}) })
    await expectEventually(async () => (await endpoint(id)) === undefined)
    await ended(id)
  })

  test('a stop that its host no longer answers keeps its reason', async () => {
    const id = await claimed({ stop_requested_at: new Date() })
    launcher.say(id, over)
    expect(await ended(id)).toMatchObject({ status: 'stopped', reason: 'stopped_by_user' })
  })
})

describe('a terminal of its own (ttyd)', () => {
  const terminal = (columns: Record<string, unknown> = {}) => launched({ kind: 'ttyd', image: 'shell', ...columns })
  const listening = { ...running, address: { host: '10.1.2.3', port: 7681 } }
  const up = async (columns?: Record<string, unknown>): Promise<string> => {
    const id = await terminal(columns)
    launcher.say(id, listening)
    await until(id, ({ status }) => status === 'running')
    return id
  }

  test('is launched as its image, runs once it listens, and needs no claim', async () => {
    const id = await terminal()
    expect(launcher.launches).toEqual([{ sessionId: id, timeoutSeconds: 60, image: 'shell' }])
    launcher.say(id, { ...waiting, progress: 'pulling_image', wait: image('again') })
    await until(id, ({ wait_reason: reason }) => reason === 'image_pull')
    launcher.say(id, running)
    await sleep(250)
    expect(await store.session(id)).toMatchObject({ status: 'starting', pod_uid: null })
    launcher.say(id, listening)
    const row = await until(id, ({ status }) => status === 'running')
    expect(row).toMatchObject({ pod_uid: 'pod', stage: 'running', wait_reason: null, started_at: expect.any(Date) })
    expect(row.stages.at(-1)).toMatchObject({ name: 'running', endedAt: null })
    expect(await endpoint(id)).toMatchObject({ pod_ip: '10.1.2.3', port: 7681, pod_uid: 'pod' })
    await store.database.query('truncate session_endpoints')
    await expectEventually(() => endpoint(id))
  })

  test.each([
    [report({}), 'succeeded', null],
    [report({ status: 'failed', reason: 'exit_nonzero', exitCode: 2 }), 'failed', 'exit_nonzero'],
  ])('ends with what its container reports: %j', async (word, status, reason) => {
    const id = await up()
    launcher.say(id, { ...over, report: word })
    expect(await ended(id)).toMatchObject({ status, reason, exit_code: word.exitCode })
    const early = await terminal()
    launcher.say(early, { ...over, report: word })
    expect(await ended(early)).toMatchObject({ status, reason })
    expect(launcher.count(early)).toBe(1)
  })

  test('is removed when it is stopped, and when its time is up', async () => {
    const [stopped, expired] = [await up(), await up({ timeout_seconds: 1 })]
    await store.pool.query('update sessions set stop_requested_at = now() where id = $1', [stopped])
    reconcilers[0]!.wake()
    expect(await ended(stopped)).toMatchObject({ status: 'stopped', reason: 'stopped_by_user' })
    expect(await ended(expired)).toMatchObject({ status: 'expired', reason: 'deadline' })
    expect(launcher.entries.size).toBe(0)
    expect(await endpoint(stopped)).toBeUndefined()
  })

  test('that vanishes is lost', async () => {
    const id = await up()
    launcher.say(id)
    expect(await ended(id)).toMatchObject({ status: 'lost', reason: 'runner_lost' })
  })
})

describe('a launch', () => {
  test('whose session has no row is removed when that was so twice, and never while a session is being made', async () => {
    const orphan = randomUUID()
    const from = Date.now()
    launcher.say(orphan, running)
    await expectEventually(() => Promise.resolve(!launcher.entries.has(orphan)))
    expect(Date.now() - from).toBeGreaterThanOrEqual(TIMINGS.rowlessMs - 20)
    for (let i = 0; i < 30; i++) {
      await launched()
      reconcilers[0]!.wake()
    }
    expect(launcher.removed).toEqual([[orphan, undefined]])
  })

  test('that has no session yet is left alone, whatever it does, and counts for no session', async () => {
    launcher.unassigned.push(
      { ...running, sessionId: undefined },
      { sessionId: undefined, launchId: undefined, progress: 'scheduling', wait: image('x:1 cannot be pulled yet.') },
      {
        ...over,
        sessionId: undefined,
        launchId: 'ended',
        fault: { reason: 'evicted', detail: 'The node was drained.' },
      },
    )
    const removedOrphans: string[] = []
    await restart({ metrics: { ...NO_METRICS, orphanRemoved: () => removedOrphans.push('one') } })
    const id = await claimed()
    // The session's own launch is gone: one of the same name that has no session does not stand for it.
    launcher.say(id)
    expect(await ended(id)).toMatchObject({ status: 'lost', reason: 'runner_lost' })
    await sleep(2 * TIMINGS.rowlessMs)
    await reconcilers[0]!.stopAll('server_stopped', 500)
    expect([launcher.removed, removedOrphans]).toEqual([[], []])
  })

  test('stays for a while after the end of its session when it still runs', async () => {
    const id = await claimed()
    await store.pool.query(`update sessions set status = 'succeeded', ended_at = now() where id = $1`, [id])
    await sleep(TIMINGS.lingerSeconds * 1000 - 200)
    expect(launcher.removed).toEqual([])
    await expectEventually(() => Promise.resolve(!launcher.entries.has(id)), 2_000)
  })
})

describe('a database that was restored to an earlier moment', () => {
  test('a session whose claim is lost ends with the report of its launch, and does not run again', async () => {
    const id = await launched()
    launcher.say(id, { ...over, report: report({ status: 'failed', reason: 'exit_nonzero', exitCode: 9 }) })
    expect(await ended(id)).toMatchObject({ status: 'failed', reason: 'exit_nonzero', exit_code: 9 })
    expect(launcher.count(id)).toBe(1)
  })

  test('a session that had ended since and has no launch is not started again', async () => {
    const longAgo = new Date(Date.now() - 600_000)
    const queued = await store.createSession({ created_at: longAgo })
    const scheduled = await store.createSession({ created_at: longAgo, status: 'scheduling', launched_at: longAgo })
    const open = await store.createSession({
      status: 'running',
      pod_uid: 'gone',
      claimed_at: longAgo,
      timeout_seconds: 9_999,
    })
    expect(await ended(queued)).toMatchObject({ status: 'failed', reason: 'queue_deadline' })
    expect(await ended(scheduled)).toMatchObject({ status: 'failed', reason: 'queue_deadline' })
    expect(await ended(open)).toMatchObject({ status: 'lost', reason: 'runner_lost' })
    expect(launcher.launches).toEqual([])
  })

  test('a session whose claim is lost and that still runs is left alone', async () => {
    const id = await launched()
    launcher.say(id, { ...running, address: { host: '10.1.2.3', port: 7681 } })
    await sleep(500)
    expect(await store.session(id)).toMatchObject({ ended_at: null, pod_uid: null })
    expect([launcher.removed, launcher.count(id)]).toEqual([[], 1])
  })
})

describe('a session that cannot be reconciled', () => {
  test('does not hold up the others', async () => {
    const [bad, ...good] = [await launched(), await launched(), await launched()]
    await store.pool.query(`update sessions set stages = '[null]' where id = $1`, [bad])
    for (const id of [bad!, ...good]) launcher.say(id, { ...waiting, progress: 'pulling_image' })
    for (const id of good) await until(id, ({ status }) => status === 'starting')
    expect((await store.session(bad!)).status).toBe('scheduling')
  })

  test('while the launcher cannot remove it is tried again, but not once for each of many', async () => {
    const ids = await Promise.all(
      Array.from({ length: 20 }, () => claimed({ kind: 'ttyd', stop_requested_at: new Date() })),
    )
    launcher.removeError = new LauncherUnavailable('away')
    launcher.removed.length = 0
    await sleep(350)
    expect(launcher.removed.length).toBeLessThan(40)
    launcher.removeError = undefined
    for (const id of ids) expect(await ended(id)).toMatchObject({ status: 'stopped' })
  })
})

describe('two controllers at once', () => {
  test('act once on whatever happens to thirty sessions', async () => {
    start()
    const ids = await Promise.all(Array.from({ length: 30 }, () => store.createSession()))
    for (const id of ids) await expectEventually(() => Promise.resolve(launcher.entries.has(id)))
    // A third is evicted before it begins, a third is refused by its image, a third ends by itself.
    const [evicted, bad, done] = [ids.slice(0, 10), ids.slice(10, 20), ids.slice(20)]
    for (const id of evicted)
      launcher.say(id, { ...over, launchId: undefined, fault: { reason: 'evicted', detail: 'x' } })
    for (const id of bad) launcher.say(id, { ...waiting, fault: image('x') })
    await store.pool.query(`update sessions set pod_uid = 'pod', status = 'running' where id = any($1)`, [done])
    for (const id of done) launcher.say(id, { ...over, report: report({}) })
    for (const id of bad) expect(await ended(id)).toMatchObject({ status: 'failed', reason: 'image_pull' })
    for (const id of done) expect(await ended(id)).toMatchObject({ status: 'succeeded' })
    for (const id of evicted) await expectEventually(() => Promise.resolve(launcher.count(id) === 2))
    await sleep(500)
    for (const id of evicted) expect(launcher.entries.get(id)).toHaveLength(1)
    expect(ids.map((id) => launcher.count(id))).toEqual([...Array(10).fill(2), ...Array(20).fill(1)])
  }, 30_000)
})
