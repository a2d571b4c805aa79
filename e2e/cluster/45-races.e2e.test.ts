import { randomUUID } from 'node:crypto'
import type { SessionView } from '@cliscale/contract'
import { expect, test } from '@jest/globals'
import { killProgram, untilReleaseReady } from '../src/cluster-faults.ts'
import { JobWatch } from '../src/cluster-jobs.ts'
import {
  apply,
  componentPods,
  eventually,
  kubectl,
  NAMESPACE,
  openApi,
  type Pod,
  SESSION_LABEL,
  SESSIONS,
  state,
  untilStatus,
} from '../src/cluster.ts'
import type { Api, Created } from '../src/system.ts'

/** Sessions in each of three waves: one controller is killed during the second, and both during the third. */
const WAVE = 6
/** A Job whose session has no row is removed after 20 s (controller/src/reconcile/reconciler.ts). */
const ROWLESS_MS = 20_000

if (state.clusterFolder === null) {
  test('no controller of this cluster is killed: this is not the test cluster', () =>
    expect(state.clusterFolder).toBeNull())
} else {
  test('sessions come and go while controllers are killed: one Job each, and none is lost, swept or ended twice', async () => {
    const api = await openApi()
    await using jobs = new JobWatch()
    const [orphan, foreign] = [randomUUID(), randomUUID()]
    await apply(jobOf(orphan, 'cliscale'), jobOf(foreign, 'another'))
    await eventually('the watch is on', async () => jobs.uidsOf(orphan).length + jobs.uidsOf(foreign).length === 2)
    try {
      const sessions = [...(await wave(api))]
      for (const victims of [1, 2]) {
        await untilReleaseReady()
        const [made] = await Promise.all([wave(api), replaceControllers(victims)])
        sessions.push(...made)
      }
      const ended = await Promise.all(sessions.map(async (one) => ({ ...one, end: await endOf(api, one) })))
      const { deletedAt = NaN, seenAt = NaN } = await eventually(
        'the Job without a session is removed',
        async () => jobs.timesOf(orphan).deletedAt !== undefined && jobs.timesOf(orphan),
        90_000,
      )
      // The controllers may have heard of it slightly earlier than this watch.
      expect(deletedAt - seenAt).toBeGreaterThan(ROWLESS_MS * 0.9)
      for (const { sessionId, isStopped, end } of ended) {
        expect(end).toMatchObject({ status: isStopped ? 'stopped' : 'succeeded' })
        if (!isStopped) expect((await api.logs(sessionId)).toString()).toBe('once\r\n')
        // One that was stopped at once may never have had a Job.
        expect(jobs.uidsOf(sessionId).length).toBeLessThanOrEqual(1)
        expect(jobs.uidsOf(sessionId).length).toBeGreaterThanOrEqual(isStopped ? 0 : 1)
        const deleted = jobs.timesOf(sessionId).deletedAt ?? Infinity
        expect(deleted).toBeGreaterThanOrEqual(Date.parse(end.endedAt ?? ''))
        // A second end would have another time.
        expect(await api.get(sessionId)).toEqual(end)
      }
      expect(jobs.timesOf(foreign).deletedAt).toBeUndefined()
      expect(jobs.isWhole).toBe(true)
      process.stderr.write(
        `${sessions.length} sessions, 3 controllers killed: each had one Job; an orphan was removed after ${deletedAt - seenAt} ms\n`,
      )
    } finally {
      await kubectl('delete', 'jobs', '-n', SESSIONS, '-l', 'cliscale-e2e=races')
      await untilReleaseReady()
    }
  }, 240_000)
}

interface Member {
  readonly sessionId: string
  readonly isStopped: boolean
}

/** Makes sessions at once: most print a word, one is stopped as soon as it exists, and one once it runs. */
function wave(api: Api): Promise<Member[]> {
  return Promise.all(
    Array.from({ length: WAVE }, async (_, i) => {
      const isStopped = i < 2
      const { sessionId } = await createSurely(api, { command: isStopped ? 'sleep 300' : 'echo once' })
      if (isStopped) void stopSurely(api, sessionId, i === 1)
      return { sessionId, isStopped }
    }),
  )
}

/** What a caller does whose request was not answered: it repeats it with the same key. */
function createSurely(api: Api, request: Record<string, unknown>): Promise<Created> {
  const idempotencyKey = randomUUID()
  return eventually('a session is accepted', () => api.create(request, { idempotencyKey }), 60_000)
}

async function stopSurely(api: Api, sessionId: string, isToRun: boolean): Promise<void> {
  if (isToRun) await eventually('it runs', () => untilStatus(api, sessionId, ['running'], 1000), 120_000)
  await eventually('the stop is accepted', () => api.stop(sessionId), 60_000)
}

async function endOf(api: Api, { sessionId }: Member): Promise<SessionView> {
  await api.ended(sessionId, 150_000)
  return api.get(sessionId)
}

/** Kills controllers with SIGKILL. Their pods go as well, so that the cluster does not delay their restarts. */
async function replaceControllers(count: number): Promise<void> {
  const isAtWork = ({ metadata, status }: Pod) =>
    metadata.deletionTimestamp === undefined &&
    status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True')
  // One that has just become ready may be busy, and unready, once more.
  const pods = await eventually(`${count} controllers are at work`, async () => {
    const atWork = (await componentPods('controller')).filter(isAtWork)
    return atWork.length >= count && atWork.slice(0, count)
  })
  expect(await killProgram(pods, 'controller/dist/main.js')).toBe(count)
  const names = pods.map(({ metadata }) => metadata.name)
  await kubectl('delete', 'pods', '-n', NAMESPACE, ...names, '--wait=false')
}

/** A Job as a controller makes it, of a session that nobody knows. It is suspended: it makes no pod. */
function jobOf(sessionId: string, instance: string): object {
  const labels = {
    'cliscale-e2e': 'races',
    'app.kubernetes.io/instance': instance,
    'app.kubernetes.io/managed-by': 'cliscale-controller',
    [SESSION_LABEL]: sessionId,
  }
  const containers = [{ name: 'work', image: state.images['runner'] }]
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: `cliscale-${sessionId}`, namespace: SESSIONS, labels },
    spec: { suspend: true, template: { metadata: { labels }, spec: { restartPolicy: 'Never', containers } } },
  }
}
