/**
 * How long a session takes from POST to its first byte of output, through the Ingress of the cluster that
 * `npm run e2e:up` made, with a warm image and code from its simulated internet, split into its phases; and what a bare
 * pod costs there.
 * Usage: node bench/start.mjs [sessions]
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import WebSocket from 'ws'
import startInternet from '../e2e/cluster/global-setup.mjs'
import stopInternet from '../e2e/cluster/global-teardown.mjs'
import { clusterEnv, kubectl, NAMESPACE, readState, SESSIONS_NAMESPACE } from '../scripts/e2e/cluster.mjs'

const COUNT = Number(process.argv[2] ?? 50)
const LABEL = 'cliscale.dev/session-id'
const ORDER = {
  code_url: 'https://github.com/example/cliscale/tree/main/sample-cli',
  install_cmd: '',
  command: 'echo first; sleep 1',
}
const state = readState()
if (!state?.address) throw new Error('run npm run e2e:up first')
const encoded = await kubectl(state, [
  'get',
  'secret',
  'cliscale-api-key',
  '-n',
  NAMESPACE,
  '-o',
  'jsonpath={.data.API_KEY}',
])
const key = Buffer.from(encoded, 'base64').toString()

/** When an event of a Job or a pod was first seen here, by session id and event, in ms. */
const seen = new Map()
const note = (id, event) => {
  const events = seen.get(id) ?? seen.set(id, {}).get(id)
  events[event] ??= performance.now()
}
const watches = [watch('jobs', noteJob), watch('pods', notePod)]

function watch(kind, onObject) {
  const args = ['get', kind, '-n', SESSIONS_NAMESPACE, '--watch-only', '-o', 'json']
  const child = spawn('kubectl', args, { env: clusterEnv(state), stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.on('data', (chunk) => {
    text += chunk
    for (let end = text.indexOf('\n}\n'); end >= 0; end = text.indexOf('\n}\n')) {
      onObject(JSON.parse(text.slice(0, end + 2)))
      text = text.slice(end + 3)
    }
  })
  return child
}

function noteJob(job) {
  note(job.metadata.labels?.[LABEL], 'job')
}

function notePod(pod) {
  const id = pod.metadata.labels?.[LABEL] ?? pod.metadata.name
  note(id, 'pod')
  const { conditions = [], containerStatuses = [] } = pod.status
  if (conditions.some(({ type, status }) => type === 'PodScheduled' && status === 'True')) note(id, 'scheduled')
  // Only for a bare pod: the kubelet says so some time after it is so, and for a session its host's calls say it sooner.
  if (containerStatuses.some((each) => each.state.running || each.state.terminated)) note(id, 'runs')
}

const request = (method, at, body) =>
  fetch(state.address + at, {
    method,
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(60_000),
  }).then((answer) => answer.json())

/** One session: when what happened, in ms after the POST was sent. */
async function startOne() {
  const posted = performance.now()
  const wall = Date.now()
  const { sessionId, sessionJWT } = await request('POST', '/api/sessions', ORDER)
  const row = performance.now() - posted
  const first = await firstByte(sessionId, sessionJWT)
  let view
  do {
    await sleep(300)
    view = await request('GET', `/api/sessions/${sessionId}`)
  } while (['queued', 'scheduling', 'starting', 'running'].includes(view.status))
  if (view.status !== 'succeeded') throw new Error(JSON.stringify(view))
  const events = seen.get(sessionId) ?? {}
  const since = (event) => events[event] - posted
  const fetch = view.stages.findIndex(({ name }) => name === 'fetching_code')
  const at = (time) => Date.parse(time) - wall
  return {
    row,
    job: since('job'),
    pod: since('pod'),
    scheduled: since('scheduled'),
    // What was waited for ends with the claim.
    claimed: at(view.stages[fetch - 1].endedAt),
    fetching: at(view.stages[fetch].startedAt),
    running: at(view.stages[fetch + 1].startedAt),
    first: first - posted,
  }
}

/** Resolves with the time of the command's first byte; a line of the host's on the code comes before it. */
async function firstByte(sessionId, token) {
  const socket = new WebSocket(`${state.address.replace('http', 'ws')}/ws/${sessionId}?token=${token}`, ['cliscale.v1'])
  socket.on('error', () => {})
  socket.on('open', () => socket.send('{"columns":80,"rows":24}'))
  try {
    return await new Promise((resolve, reject) => {
      socket.on('message', (data) => data[0] === 0x30 && data.includes('first') && resolve(performance.now()))
      socket.on('close', (code, why) => reject(new Error(`closed before the first byte: ${code} ${String(why)}`)))
    })
  } finally {
    socket.terminate()
  }
}

/** A pod of one container of the same image without any of ours: from its creation to its first process. */
async function bareOne(i) {
  const name = `bare-${process.pid}-${i}`
  const security = { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } }
  const container = { name: 'main', image: state.images.runner, command: ['sleep', '2'], securityContext: security }
  const spec = {
    restartPolicy: 'Never',
    automountServiceAccountToken: false,
    terminationGracePeriodSeconds: 0,
    securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [container],
  }
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: SESSIONS_NAMESPACE }, spec }
  await kubectl(state, ['create', '-f', '-'], { input: JSON.stringify(pod) })
  while (!seen.get(name)?.runs) await sleep(20)
  await kubectl(state, ['delete', 'pod', '-n', SESSIONS_NAMESPACE, name, '--wait=false'])
  const { pod: made, runs } = seen.get(name)
  return runs - made
}

const quantile = (values, q) =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.ceil(q * values.length) - 1)]
const cell = (value) => String(Math.round(value)).padStart(7)
const print = (name, values) =>
  console.log(`${name.padEnd(52)} ${cell(quantile(values, 0.5))} ${cell(quantile(values, 0.95))}`)

await startInternet()
try {
  await sleep(1000)
  await startOne()
  const runs = []
  for (let i = 0; i < COUNT; i++) runs.push(await startOne())
  const bare = []
  for (let i = 0; i < 10; i++) bare.push(await bareOne(i))
  const between = (from, to) => runs.map((each) => each[to] - (from ? each[from] : 0))
  console.log(`${COUNT} sessions one after another, in ms${' '.repeat(23)} p50     p95`)
  print('row: POST answered', between(undefined, 'row'))
  print('Job: seen after the POST was sent', between(undefined, 'job'))
  print('pod: made by the Job controller', between('job', 'pod'))
  print('scheduled', between('pod', 'scheduled'))
  print('containers: the host claims the session', between('scheduled', 'claimed'))
  print('order: the host has it, and work is there', between('claimed', 'fetching'))
  print('fetch: the code is there, and the command runs', between('fetching', 'running'))
  print('first byte: it is at the viewer', between('running', 'first'))
  print('all: POST to the first byte', between(undefined, 'first'))
  print('a bare pod here: created to its process running', bare)
} finally {
  for (const child of watches) {
    const gone = once(child, 'exit')
    child.kill()
    await gone
  }
  await stopInternet()
}
