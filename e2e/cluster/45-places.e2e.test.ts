import { afterAll, beforeAll, expect, test } from '@jest/globals'
import {
  joinMachine,
  playSession,
  type PlayedSession,
  removeMachine,
  removePlayed,
  withoutOtherPods,
} from '../src/cluster-machine.ts'
import {
  apply,
  componentPods,
  eventually,
  kubectl,
  objectsOf,
  openApi,
  SESSION_LABEL,
  SESSIONS,
  state,
  untilStatus,
} from '../src/cluster.ts'
import type { Api, Created } from '../src/system.ts'
import { CollectingViewer } from '../src/viewer.ts'

/** Sessions that lose their machine. They run side by side; each test waits for its own. */
const RUN = Date.now().toString(36)
// The cluster remembers for a while the state of a machine of the same name.
const SILENT = `e2e-silent-${RUN}`
const GONE = `e2e-gone-${RUN}`
const IMPORTANT = 'e2e-important'
const OUTPUT = 'the last words\r\n'

if (state.clusterFolder === null) {
  test('no machine is added: this is not the test cluster', () => expect(state.clusterFolder).toBeNull())
} else {
  let api: Api
  let silent: PlayedSession
  let gone: PlayedSession
  let preempted: Created
  let viewer: CollectingViewer
  let others: string[]

  /** Our pods with the number of their restarts: no other pod may suffer. */
  const survey = async (): Promise<string[]> =>
    (await Promise.all([componentPods('controller'), componentPods('gateway')])).flat().map(({ metadata, status }) => {
      const restarts = (status.containerStatuses ?? []).map(({ restartCount }) => restartCount)
      return `${metadata.name} ${status.phase} ${restarts.join()}`
    })

  beforeAll(async () => {
    api = await openApi()
    others = await survey()
    await Promise.all([joinMachine(SILENT), joinMachine(GONE)])
    ;[silent, gone] = await withoutOtherPods(() => Promise.all([SILENT, GONE].map(playOn) as [Played, Played]))
    await removeMachine(GONE)
    const command = `trap 'echo bye; exit' TERM; i=0; while :; do i=$((i + 1)); echo "line $i"; read -rt 0.02; done`
    preempted = await api.create({ command })
    viewer = new CollectingViewer(api.base, preempted.sessionId)
    viewer.start(preempted.sessionJWT)
    await untilStatus(api, preempted.sessionId, ['running'])
    await preempt(preempted.sessionId)
  }, 120_000)

  afterAll(async () => {
    await viewer?.[Symbol.asyncDispose]()
    await kubectl('delete', 'pod', IMPORTANT, '-n', 'default', '--ignore-not-found', '--wait=false')
    await kubectl('delete', 'priorityclass', IMPORTANT, '--ignore-not-found')
    for (const { podName } of [silent, gone].filter(Boolean)) await removePlayed(podName)
    await Promise.all([SILENT, GONE].map(removeMachine))
  }, 60_000)

  type Played = Promise<PlayedSession>
  const playOn = async (machine: string): Played => {
    const { sessionId } = await api.create({ command: 'sleep 3000' })
    return playSession(sessionId, machine, OUTPUT)
  }

  test('a more important pod takes a session’s place: the session ends as lost, with its last output', async () => {
    const ended = await api.ended(preempted.sessionId)
    say('preempted', ended)
    expect(ended).toMatchObject({
      status: 'lost',
      reason: 'evicted',
      detail: expect.stringMatching(/^Something more important took the session’s place\./),
    })
    await eventually('the viewer is told', async () => viewer.exit !== undefined)
    expect(viewer.exit).toMatchObject({ status: 'lost' })
    const log = (await api.logs(preempted.sessionId)).toString()
    expect(log).toMatch(/line \d+\r\nbye\r\n$/)
    expect(viewer.bytes.toString()).toBe(log)
    expect(await survey()).toEqual(others)
  })

  test('a machine falls silent: its session reports that, ends as lost, and keeps its log', async () => {
    const told = await eventually(
      'the session says that its machine is silent',
      async () => {
        const now = await api.get(silent.sessionId)
        return now.status === 'running' && now.reason === 'node_lost' && now
      },
      90_000,
    )
    say('silent', told)
    const ended = await api.ended(silent.sessionId, 90_000)
    say('silent', ended)
    expect(ended).toMatchObject({
      status: 'lost',
      reason: 'node_lost',
      detail: expect.stringMatching(/^The machine of the session no longer answers or was taken away\./),
    })
    expect((await api.logs(silent.sessionId)).toString()).toBe(OUTPUT)
  })

  test('a machine is removed: its session ends as lost, keeps its log, and leaves nothing in the cluster', async () => {
    const ended = await api.ended(gone.sessionId, 120_000)
    say('gone', ended)
    expect(ended).toMatchObject({
      status: 'lost',
      reason: 'node_lost',
      detail: expect.stringMatching(/^The machine of the session is gone\./),
    })
    expect((await api.logs(gone.sessionId)).toString()).toBe(OUTPUT)
    await eventually('nothing of it is left', async () => (await objectsOf(gone.sessionId)).length === 0, 100_000)
  })

  test('no other pod lost its place', async () => {
    expect(await survey()).toEqual(others)
    const after = await api.create({ command: 'echo fine' })
    expect(await api.ended(after.sessionId)).toMatchObject({ status: 'succeeded' })
  })
}

function say(what: string, { detail, reason, status }: { detail: unknown; reason: unknown; status: string }): void {
  process.stderr.write(`${what}: ${status} ${String(reason)} ${String(detail)}\n`)
}

/** Schedules a pod that cannot run beside this session and has priority: of all pods, only this one has to go. */
async function preempt(sessionId: string): Promise<void> {
  const term = {
    labelSelector: { matchLabels: { [SESSION_LABEL]: sessionId } },
    namespaces: [SESSIONS],
    topologyKey: 'kubernetes.io/hostname',
  }
  const name = IMPORTANT
  const priority = { apiVersion: 'scheduling.k8s.io/v1', kind: 'PriorityClass', metadata: { name } }
  await apply({ ...priority, value: 1000, description: 'For a test of preemption.' })
  const spec = {
    priorityClassName: name,
    affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } },
    terminationGracePeriodSeconds: 0,
    containers: [{ name, image: state.images['runner'], command: ['sleep', '3600'] }],
  }
  await apply({ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'default' }, spec })
}
