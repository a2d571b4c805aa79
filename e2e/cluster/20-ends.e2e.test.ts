import { afterAll, beforeAll, expect, test } from '@jest/globals'
import {
  eventually,
  kubectl,
  kubectlWith,
  objectsOf,
  openApi,
  podsOf,
  SESSIONS,
  state,
  untilStatus,
} from '../src/cluster.ts'
import type { Api, Created } from '../src/system.ts'

/** How a session ends, and what is reported. They run side by side; each test waits for its own. */
const HUNGRY = `node -e 'const a = []; for (;;) a.push(Buffer.alloc(1e7, 1))'`
const CODE = 'https://code.example'
const onTestCluster = state.clusterFolder !== null

interface Case {
  readonly request: Record<string, unknown>
  readonly expected: object
  /** What is done to it once it runs. */
  readonly act?: (session: Created) => Promise<unknown>
}

/** The detail is a sentence for people. */
const SENTENCE = expect.stringMatching(/^\S.{10,}[.!]/)

const podName = async (id: string): Promise<string> => (await podsOf(id))[0]?.metadata.name ?? ''
const jobName = async (id: string): Promise<string> =>
  (await kubectl('get', 'jobs', '-n', SESSIONS, '-l', `cliscale.dev/session-id=${id}`, '-o', 'name')).trim()

async function evict(id: string): Promise<void> {
  const name = await podName(id)
  const metadata = { name, namespace: SESSIONS }
  const body = JSON.stringify({ apiVersion: 'policy/v1', kind: 'Eviction', metadata })
  await kubectlWith(body, 'create', '--raw', `/api/v1/namespaces/${SESSIONS}/pods/${name}/eviction`, '-f', '-')
}

const CASES: Record<string, Case> = {
  'exit code 0': { request: { command: 'echo done' }, expected: { status: 'succeeded', reason: null, exitCode: 0 } },
  'exit code 3': {
    request: { command: 'echo no; exit 3' },
    expected: { status: 'failed', reason: 'exit_nonzero', exitCode: 3, detail: SENTENCE },
  },
  'a signal': {
    request: { command: 'kill -TERM $$' },
    expected: { status: 'failed', reason: 'killed_by_signal', signal: 'SIGTERM', detail: SENTENCE },
  },
  'too much memory': {
    request: { command: HUNGRY },
    expected: { status: 'failed', reason: 'oom_killed', detail: SENTENCE },
  },
  'too much memory in the installation': {
    request: { command: 'echo never', install_cmd: HUNGRY },
    expected: { status: 'failed', reason: 'oom_killed', detail: expect.stringMatching(/install command|memory/) },
  },
  'a full disk': {
    request: { command: 'head -c 300M /dev/zero > large; sleep 100' },
    expected: { status: 'failed', reason: 'disk_full', detail: SENTENCE },
  },
  'its time is over': {
    request: { command: 'sleep 300', timeout_seconds: 4 },
    expected: { status: 'expired', reason: 'deadline', detail: SENTENCE },
  },
  'a stop': {
    request: { command: 'sleep 300' },
    act: ({ sessionId }) => api.stop(sessionId),
    expected: { status: 'stopped', reason: 'stopped_by_user', detail: SENTENCE },
  },
  'a pod that is deleted': {
    request: { command: 'echo here; sleep 300' },
    act: async ({ sessionId }) => kubectl('delete', 'pod', '-n', SESSIONS, await podName(sessionId), '--wait=false'),
    expected: { status: 'lost', reason: 'evicted', detail: SENTENCE },
  },
  'a pod that is evicted': {
    request: { command: 'echo here; sleep 300' },
    act: ({ sessionId }) => evict(sessionId),
    expected: { status: 'lost', reason: 'evicted', detail: SENTENCE },
  },
  'a pod that is killed without any grace': {
    request: { command: 'echo here; sleep 300' },
    act: async ({ sessionId }) =>
      kubectl('delete', 'pod', '-n', SESSIONS, await podName(sessionId), '--force', '--grace-period=0', '--wait=false'),
    expected: { status: 'lost', reason: 'evicted', detail: SENTENCE },
  },
  'the deadline of its Job': {
    request: { command: 'sleep 300' },
    act: async ({ sessionId }) => {
      const patch = '{"spec":{"activeDeadlineSeconds":1}}'
      await kubectl('patch', '-n', SESSIONS, await jobName(sessionId), '--type=merge', '-p', patch)
    },
    expected: { status: 'expired', reason: 'deadline', detail: SENTENCE },
  },
  'an image that is nowhere': {
    request: { command: 'echo never', image: 'missing' },
    expected: { status: 'failed', reason: 'image_pull', detail: expect.stringContaining('no-such-image') },
  },
}

const FETCHES: Record<string, Case> = {
  'a download that stalls': {
    request: { command: 'true', code_url: `${CODE}/stall.tar.gz` },
    expected: { status: 'failed', reason: 'download_timeout', detail: SENTENCE },
  },
  'a download without an end': {
    request: { command: 'true', code_url: `${CODE}/endless.tar.gz` },
    // The host refuses what is larger than 512 MiB. Its volume is smaller here, and the kubelet, which looks at volumes
    // once in a while, may be first.
    expected: { status: 'failed', reason: expect.stringMatching(/^(code_too_large|disk_full)$/), detail: SENTENCE },
  },
  'a branch that does not exist': {
    request: { command: 'true', code_url: 'https://github.com/example/cliscale/tree/mian/sample-cli' },
    expected: { status: 'failed', reason: 'ref_not_found', detail: expect.stringContaining('main') },
  },
  'a name that leads to the metadata address': {
    request: { command: 'true', code_url: 'https://rebound.example/x.tar.gz' },
    expected: { status: 'failed', reason: 'code_host_refused', detail: SENTENCE },
  },
  'ten megabytes that are there': {
    request: { command: 'stat -c %s large.bin', code_url: `${CODE}/10mb.tar.gz` },
    expected: { status: 'succeeded' },
  },
  'a branch with a slash in its name': {
    request: {
      command: 'cat package.json',
      install_cmd: '',
      code_url: 'https://github.com/example/cliscale/tree/feature/slash/sample-cli',
    },
    expected: { status: 'succeeded' },
  },
}

let api: Api
const all = { ...CASES, ...(onTestCluster ? FETCHES : {}) }
const started = new Map<string, Created>()
const played: Promise<unknown>[] = []

async function starting(): Promise<number> {
  const views = await Promise.all([...started.values()].map(({ sessionId }) => api.get(sessionId)))
  return views.filter(({ status, reason }) => ['queued', 'scheduling', 'starting'].includes(status) && !reason).length
}

beforeAll(async () => {
  api = await openApi()
  for (const [name, { request, act }] of Object.entries(all)) {
    // A few at a time: a small machine starts two pods a second.
    await eventually('room for another', async () => (await starting()) < 4, 120_000)
    const session = await api.create(request)
    started.set(name, session)
    if (!act) continue
    const playing = untilStatus(api, session.sessionId, ['running'], 120_000).then(() => act(session))
    // Its own test reports what went wrong.
    playing.catch(() => {})
    played.push(playing)
  }
}, 300_000)

test.each(Object.keys(all))('a session ends with the documented status and reason: %s', async (name) => {
  const session = started.get(name) as Created
  const ended = await api.ended(session.sessionId, 180_000)
  process.stderr.write(
    `${name}: ${ended.status} ${ended.reason} ${ended.exitCode ?? ended.signal ?? ''} ${ended.detail}\n`,
  )
  expect({ name, ...ended }).toMatchObject((all[name] as Case).expected)
})

test('everything that was to be done to the sessions was done', async () => {
  expect(await Promise.allSettled(played)).toEqual(played.map(() => expect.objectContaining({ status: 'fulfilled' })))
})

test('the log of the deleted pod is kept', async () => {
  const { sessionId } = started.get('a pod that is deleted') as Created
  expect((await api.logs(sessionId)).toString()).toContain('here')
})

test('a session that exhausts its memory harms no other: the others went on', async () => {
  expect(await api.get((started.get('exit code 0') as Created).sessionId)).toMatchObject({ status: 'succeeded' })
})

test('a fork bomb ends with its session, and the cluster goes on', async () => {
  const session = await api.create({ command: 'bomb() { bomb | bomb & }; bomb; sleep 60', timeout_seconds: 6 })
  started.set('a fork bomb', session)
  const ended = await api.ended(session.sessionId, 150_000)
  process.stderr.write(`a fork bomb: ${ended.status} ${ended.reason} ${ended.detail}\n`)
  // The kernel chooses what it kills for memory: the holder of the command's terminal, which ends the session, or only
  // some of the bomb, which then goes on until its time is over.
  const ends = [
    { status: 'failed', reason: 'oom_killed' },
    { status: 'expired', reason: 'deadline' },
  ]
  expect(ends).toContainEqual({ status: ended.status, reason: ended.reason })
  expect(ended).toMatchObject({ detail: SENTENCE })
  const after = await api.create({ command: 'echo fine' })
  expect(await api.ended(after.sessionId)).toMatchObject({ status: 'succeeded' })
})

test('nothing of them is left in the cluster after the time in which they can be looked at', async () => {
  for (const { sessionId } of started.values()) {
    await eventually(`nothing of ${sessionId} is left`, async () => (await objectsOf(sessionId)).length === 0, 100_000)
  }
})

afterAll(async () => {
  for (const { sessionId } of started.values()) await api.stop(sessionId)
})
