/** Several launchers, each with sessions of its own; the default one is called A here, the other one B. */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { createLogger } from '@cliscale/service-kit'
import { type Launched, type Launcher, LauncherUnavailable } from '../src/launch/launcher.ts'
import type { Reconciler } from '../src/reconcile/reconciler.ts'
import type { ReconcilersDeps } from '../src/reconcile/reconcilers.ts'
import { createStore, type Store, type TestRow } from './host-api-system.ts'
import { expectEventually } from './launch-contract.ts'
import { overriding, reconcilerOf, TIMINGS } from './reconcile-system.ts'
import { ScriptedLauncher } from './scripted-launcher.ts'

let store: Store
let a: ScriptedLauncher
let b: ScriptedLauncher
let reconciler: Reconciler | undefined
let goOn: () => void = () => undefined
beforeEach(async () => {
  store = await createStore()
  a = new ScriptedLauncher()
  b = new ScriptedLauncher()
  reconciler = undefined
})
afterEach(async () => {
  goOn()
  await reconciler?.close()
  await store[Symbol.asyncDispose]()
})

function start({ asB = b, ...extra }: Partial<ReconcilersDeps> & { asB?: Launcher } = {}): Reconciler {
  const launchers = new Map<string | null, Launcher>([
    [null, a],
    ['b', asB],
  ])
  reconciler = reconcilerOf(store, a, { launchers, ...extra })
  reconciler.start()
  return reconciler
}

const REPORT = { status: 'failed', reason: 'exit_nonzero', detail: null, exitCode: 3, signal: null } as const
const running = { launchId: 'pod', progress: 'running' } as const
const created = (backend: string | null) => store.createSession({ backend })
/** A session that its pod has claimed, as the internal API writes it. */
async function claimed(backend: string | null, launcher: ScriptedLauncher): Promise<string> {
  const claim = { status: 'running', pod_uid: 'pod', claimed_at: new Date(), launched_at: new Date() }
  const id = randomUUID()
  launcher.say(id, running)
  return store.createSession({ id, backend, ...claim })
}
const launchedAt = (launcher: ScriptedLauncher, id: string) =>
  expectEventually(() => Promise.resolve(launcher.entries.has(id)))
const ended = (id: string): Promise<TestRow> =>
  expectEventually(async () => {
    const row = await store.session(id)
    return row.ended_at !== null && row
  })
const askToStop = (id: string) => store.pool.query('update sessions set stop_requested_at = now() where id = $1', [id])
const passes = () => sleep(5 * TIMINGS.everyMs)
/** Longer than anything that is missing, or has no row, is left alone. */
const graces = () => sleep(3 * Math.max(TIMINGS.lostGraceMs, TIMINGS.rowlessMs, TIMINGS.lingerSeconds * 1000))

describe('a launcher that is in trouble', () => {
  test('that cannot say what runs loses none of its sessions, and delays no other', async () => {
    const [inA, inB] = [await claimed(null, a), await claimed('b', b)]
    b.listError = new LauncherUnavailable('the cluster does not answer')
    b.entries.clear()
    start()
    await launchedAt(a, await created(null))
    await askToStop(inA)
    a.say(inA)
    expect(await ended(inA)).toMatchObject({ status: 'stopped' })
    await graces()
    expect(await store.session(inB)).toMatchObject({ status: 'running', ended_at: null })
    b.listError = undefined
    b.say(inB, running)
    await graces()
    expect(await store.session(inB)).toMatchObject({ status: 'running', ended_at: null })
    expect([a.removed, b.removed]).toEqual([[], []])
  })

  test.each(['list', 'launch'] as const)('that hangs in its %s loses no session, and delays no other', async (what) => {
    const back = new Promise<void>((resolve) => (goOn = resolve))
    const hanging = overriding(b, {
      [what]: async (...args: [never]) => {
        await back
        return b[what](...args)
      },
    })
    const [inA, inB] = [await claimed(null, a), await claimed('b', b)]
    const late = await created('b')
    start({ asB: hanging })
    await passes()
    await launchedAt(a, await created(null))
    a.say(inA)
    expect(await ended(inA)).toMatchObject({ status: 'lost' })
    await graces()
    expect(await store.session(inB)).toMatchObject({ status: 'running', ended_at: null })
    goOn()
    await launchedAt(b, late)
    expect(b.count(late)).toBe(1)
  })

  test('that refuses many sessions does not pause the launches of another', async () => {
    b.launchError = new LauncherUnavailable('no room')
    const refused = await Promise.all(Array.from({ length: 8 }, () => created('b')))
    start()
    await expectEventually(() => Promise.resolve(b.launches.length >= 4))
    for (let i = 0; i < 3; i++) await launchedAt(a, await created(null))
    expect(a.launches).toHaveLength(3)
    b.launchError = undefined
    for (const id of refused) await launchedAt(b, id)
  })

  test('does not keep the sessions of another from being stopped, and its own fault is told', async () => {
    const [inA, inB] = [await claimed(null, a), await claimed('b', b)]
    const one = start()
    await passes()
    a.listError = new Error('no answer')
    await expect(one.stopAll('server_stopped', 500)).rejects.toThrow('no answer')
    expect(b.removed).toEqual([[inB, undefined]])
    expect(await ended(inB)).toMatchObject({ status: 'stopped', reason: 'server_stopped' })
    expect(await store.session(inA)).toMatchObject({ ended_at: null, stop_requested_at: expect.any(Date) })
  })
})

describe('a session', () => {
  test('is launched and removed by the launcher that its row names, and by no other', async () => {
    start()
    const [inA, inB] = [await created(null), await created('b')]
    await Promise.all([launchedAt(a, inA), launchedAt(b, inB)])
    expect(a.launches.map((asked) => asked.sessionId)).toEqual([inA])
    expect(b.launches.map((asked) => asked.sessionId)).toEqual([inB])
    await askToStop(inB)
    expect(await ended(inB)).toMatchObject({ status: 'stopped' })
    await expectEventually(() => Promise.resolve(b.removed.length > 0))
    await passes()
    expect(new Set(b.removed.map(([id]) => id))).toEqual(new Set([inB]))
    expect(a.removed).toEqual([])
    expect(await store.session(inA)).toMatchObject({ status: 'scheduling', ended_at: null })
  })

  test('that is open is not touched by a launch of its id elsewhere, which is removed only after its end', async () => {
    const id = await claimed('b', b)
    const foreign: Omit<Launched, 'sessionId'> = { launchId: 'foreign', progress: 'ended', report: REPORT }
    a.say(id, foreign)
    start()
    await graces()
    expect([a.removed, b.removed]).toEqual([[], []])
    expect(await store.session(id)).toMatchObject({ status: 'running', pod_uid: 'pod', ended_at: null })
    await store.pool.query("update sessions set status = 'succeeded', ended_at = now() where id = $1", [id])
    await expectEventually(() => Promise.resolve(!a.entries.has(id)))
  })

  test('whose backend has no launcher is left alone, and mentioned each time that the expired is removed', async () => {
    const lines: string[] = []
    const logger = createLogger({ service: 'test', destination: { write: (line) => void lines.push(line) } })
    const [inA, inB] = [await claimed(null, a), await claimed('b', b)]
    const [unknown, claimedThere] = [await created('elsewhere'), await claimed('elsewhere', b)]
    b.entries.delete(claimedThere)
    await askToStop(claimedThere)
    let left = 3
    let prunes = 0
    start({ logger, queueLimitSeconds: 1, prune: () => Promise.resolve(++prunes && Math.max(0, left--)) })
    await sleep(1_500)
    expect(await store.session(unknown)).toMatchObject({ status: 'queued', ended_at: null })
    expect(await store.session(claimedThere)).toMatchObject({ status: 'running', ended_at: null })
    expect([a.launches, b.launches]).toEqual([[], []])
    await reconciler?.stopAll('server_stopped', 200)
    expect(await store.session(unknown)).toMatchObject({ status: 'queued', stop_requested_at: null })
    for (const id of [inA, inB]) expect(await store.session(id)).toMatchObject({ status: 'stopped' })
    const told = lines.filter((line) => line.includes('no launcher here'))
    expect(JSON.parse(told[0]!)).toMatchObject({ stranded: [{ backend: 'elsewhere', sessions: 2 }] })
    // Once for each round of the default one; the first took four batches.
    expect(told).toHaveLength(prunes - 3)
  })
})
