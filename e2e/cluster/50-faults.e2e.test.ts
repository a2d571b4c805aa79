import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  killComponent,
  killDatabaseBackend,
  untilReleaseReady,
  withoutDatabase,
  withoutPart,
} from '../src/cluster-faults.ts'
import { ClusterFleet } from '../src/cluster-fleet.ts'
import {
  apply,
  clusterProgram,
  componentPods,
  eventually,
  kubectl,
  kubectlJson,
  openApi,
  type Pod,
  podsOf,
  SESSIONS,
  state,
} from '../src/cluster.ts'
import { type Front, openFront } from '../src/front.ts'
import type { Api } from '../src/system.ts'

const SIZE = Number(process.env['E2E_FLEET'] ?? 50)

if (state.clusterFolder === null) {
  test('no part of this cluster is killed: this is not the test cluster', () => expect(state.clusterFolder).toBeNull())
} else {
  let api: Api
  let front: Front
  let fleet: ClusterFleet
  const say = (text: string) => process.stderr.write(`${text}\n`)

  beforeAll(async () => {
    api = await openApi()
    // Half of the viewers come through a load balancer that cuts every connection after 30 s.
    front = await openFront(state.address, { cutAfterMs: 30_000 })
    const began = Date.now()
    fleet = await ClusterFleet.start(api, SIZE, [state.address, front.base])
    await fleet.untilRunning()
    say(`${SIZE} sessions run after ${Date.now() - began} ms`)
  }, 400_000)
  afterAll(async () => {
    // What a failed test left stopped.
    await clusterProgram('up')
    await clusterProgram('database', 'start')
    await fleet?.[Symbol.asyncDispose]()
    await front?.[Symbol.asyncDispose]()
  }, 120_000)

  /** Nothing is lost, nothing is stuck: all sessions run, and every viewer sees something new. */
  const untilWhole = async (what: string, limitMs = 30_000): Promise<void> => {
    const tookMs = await fleet.untilEachMoves(limitMs)
    expect(await eventually('the API answers', () => fleet.notRunning())).toEqual([])
    say(`${what}: every viewer goes on after ${tookMs} ms`)
  }
  const restarts = async (component: 'controller' | 'gateway'): Promise<number> =>
    (await componentPods(component))
      .flatMap(({ status }) => status.containerStatuses ?? [])
      .reduce((sum, { restartCount }) => sum + restartCount, 0)

  test('all sessions start at once, and no busy host is taken for one that hangs', async () => {
    const { items } = await kubectlJson<{ items: Pod[] }>('get', 'pods', '-n', SESSIONS)
    const hosts = items.flatMap(({ status }) => status.initContainerStatuses ?? [])
    expect(hosts.length).toBeGreaterThanOrEqual(SIZE)
    expect(hosts.filter(({ restartCount }) => restartCount > 0)).toEqual([])
  })

  test('both controllers are killed: the sessions are unaffected, and new ones can be made', async () => {
    expect(await killComponent('controller', 'controller/dist/main.js')).toBe(2)
    await fleet.untilEachMoves(10_000)
    const { sessionId } = await eventually('a session is accepted', () => api.create({ command: 'echo new' }))
    expect(await api.ended(sessionId)).toMatchObject({ status: 'succeeded' })
    await untilReleaseReady()
    await untilWhole('controllers killed')
  })

  test('both gateways are killed: every viewer comes back and misses nothing', async () => {
    expect(await killComponent('gateway', 'ws-gateway/dist/main.js')).toBe(2)
    await untilWhole('gateways killed', 60_000)
    await untilReleaseReady()
  })

  test('a controller dies right after it has accepted a session: the session runs once', async () => {
    const sessions = await Promise.all(Array.from({ length: 4 }, () => api.create({ command: 'echo once' })))
    await killComponent('controller', 'controller/dist/main.js')
    await untilReleaseReady()
    for (const { sessionId } of sessions) {
      expect(await api.ended(sessionId, 180_000)).toMatchObject({ status: 'succeeded' })
      expect((await api.logs(sessionId)).toString()).toBe('once\r\n')
    }
    await untilWhole('controllers killed after a creation')
  })

  test('one backend of the database is killed: all sessions can be attached to again', async () => {
    await killDatabaseBackend()
    const tookMs = await fleet.attachAll(40_000)
    say(`database backend killed: ${SIZE} of ${SIZE} attached after ${tookMs} ms`)
    expect(tookMs).toBeLessThan(40_000)
    await untilWhole('database backend killed')
  })

  test('the database is down for 60 s: terminals go on, requests are refused, no process restarts', async () => {
    const before = (await restarts('controller')) + (await restarts('gateway'))
    let refusal: unknown
    await withoutDatabase(60_000, async () => {
      // Later no controller is ready any more, and the Ingress answers in its own words.
      const began = Date.now()
      refusal = await api.create({ command: 'true' }).catch((error: unknown) => error)
      expect(Date.now() - began).toBeLessThan(15_000)
      await fleet.untilEachMoves(40_000)
    })
    expect(refusal).toMatchObject({ status: 503 })
    await untilWhole('database away for 60 s', 60_000)
    expect((await restarts('controller')) + (await restarts('gateway'))).toBe(before)
    await fleet.attachAll(60_000)
  })

  test('the API server is down for 60 s: terminals go on, and a session that was accepted meanwhile runs', async () => {
    let accepted = ''
    await withoutPart('apiserver', 60_000, async () => {
      await fleet.untilEachMoves(40_000)
      accepted = (await api.create({ command: 'echo patient' })).sessionId
    })
    const back = Date.now()
    expect(await api.ended(accepted, 120_000)).toMatchObject({ status: 'succeeded' })
    say(`API server back: what was accepted meanwhile has run after ${Date.now() - back} ms`)
    await untilWhole('API server away for 60 s', 60_000)
  }, 400_000)

  test('the kubelet is restarted: the sessions are unaffected', async () => {
    await withoutPart('kubelet', 5_000)
    await untilWhole('kubelet restarted')
  })

  test('a hand-made copy of a pod runs nothing and is removed', async () => {
    const { session } = fleet.members[0] ?? fleet.takeOne()
    const [pod] = await podsOf(session.sessionId)
    const copy = await copyOf(pod?.metadata.name ?? '')
    await apply(copy)
    const name = (copy.metadata as { name: string }).name
    await eventually(
      'the copy is gone',
      async () => (await podsOf(session.sessionId)).every(({ metadata }) => metadata.name !== name),
      90_000,
    )
    expect(await podsOf(session.sessionId)).toHaveLength(1)
    await untilWhole('a pod copied')
  })

  test('a pod is deleted: its session alone ends, and says why', async () => {
    await using gone = fleet.takeOne().viewer
    const id = gone.sessionId
    const [pod] = await podsOf(id)
    await kubectl('delete', 'pod', '-n', SESSIONS, pod?.metadata.name ?? '', '--wait=false')
    const ended = await api.ended(id, 90_000)
    say(`a pod deleted: ${ended.status} ${ended.reason} ${ended.detail}`)
    expect(ended).toMatchObject({ reason: 'evicted', detail: expect.any(String) })
    expect((await api.logs(id)).toString()).toContain('line 1\r\n')
    await untilWhole('a pod deleted')
  })

  test('every viewer has every byte once, as its program wrote it and as the log keeps it', async () => {
    while (front.cuts < SIZE) await sleep(500)
    expect(await fleet.endAndCompare()).toBe(fleet.members.length)
    const losses = fleet.members.reduce((sum, { viewer }) => sum + viewer.losses, 0)
    say(`${fleet.members.length} streams are equal, over ${losses} lost connections and ${front.cuts} cuts`)
  })
}

/** The same pod under another name, as somebody would make it to have two of it. */
async function copyOf(name: string): Promise<{ metadata: object }> {
  const pod = await kubectlJson<Pod & { spec: Record<string, unknown> }>('get', 'pod', name, '-n', SESSIONS)
  const { nodeName: _, ...spec } = pod.spec
  const metadata = { name: `${name}-copy`, namespace: SESSIONS, labels: pod.metadata.labels }
  return { apiVersion: 'v1', kind: 'Pod', metadata, spec } as { metadata: object }
}
