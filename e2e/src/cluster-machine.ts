/**
 * Machines of which the cluster knows only the Node object. What a kubelet and a session's host would say of a pod there
 * is said here; everything that follows from their silence is the doing of the cluster's own controllers and of ours.
 * The one real machine can't be taken away from under the other pods.
 */
import { once } from 'node:events'
import { ClaimResponse, OUTPUT_HEADERS, type SessionEvent } from '@cliscale/contract'
import {
  apply,
  eventually,
  kubectl,
  kubectlJson,
  NAMESPACE,
  type Pod,
  SESSION_LABEL,
  SESSIONS,
  spawnKubectl,
} from './cluster.ts'

const QUOTA = 'e2e-only-played-machines'
const CONDITION = { status: 'True', lastTransitionTime: new Date().toISOString() }

export interface PlayedSession {
  readonly sessionId: string
  readonly podName: string
}

/** Adds a machine that takes no pod by itself. Its heart beats once: after 40 s the cluster finds that it is silent. */
export async function joinMachine(name: string): Promise<void> {
  const taints = [{ key: 'cliscale.dev/e2e', effect: 'NoSchedule' }]
  await apply({ apiVersion: 'v1', kind: 'Node', metadata: { name }, spec: { taints } })
  const ready = { ...CONDITION, type: 'Ready', reason: 'KubeletReady', lastHeartbeatTime: new Date().toISOString() }
  await patchStatus('node', name, { conditions: [ready] })
}

/** Takes a machine away, as a cloud does with one that is gone. The pods that are left there lose their last hold. */
export async function removeMachine(name: string): Promise<void> {
  await kubectl('delete', 'node', name, '--ignore-not-found')
}

/** While `task` runs, no pod of a session is made but those that this file makes: they alone have a deadline. */
export async function withoutOtherPods<T>(task: () => Promise<T>): Promise<T> {
  const quota = { apiVersion: 'v1', kind: 'ResourceQuota', metadata: { name: QUOTA, namespace: SESSIONS } }
  await apply({ ...quota, spec: { hard: { pods: '0' }, scopes: ['NotTerminating'] } })
  try {
    const inForce = 'jsonpath={.status.hard.pods}'
    await eventually('the quota is in force', async () => {
      return (await kubectl('get', 'resourcequota', QUOTA, '-n', SESSIONS, '-o', inForce)) === '0'
    })
    return await task()
  } finally {
    await kubectl('delete', 'resourcequota', QUOTA, '-n', SESSIONS)
  }
}

/** Makes the pod of a session's Job on a machine, and has its host begin the session and print something. */
export async function playSession(sessionId: string, machine: string, output: string): Promise<PlayedSession> {
  const pod = await eventually('a Job that lacks its pod', () => podOn(machine, sessionId))
  await apply(pod)
  const { name } = pod.metadata
  await patchStatus('pod', name, runningStatus(pod.spec), '-n', SESSIONS)
  const account = String(pod.spec['serviceAccountName'])
  const bound = ['--bound-object-kind=Pod', `--bound-object-name=${name}`, '--audience=cliscale']
  const token = (await kubectl('create', 'token', account, '-n', SESSIONS, ...bound)).trim()
  await withInternalApi((base) => playHost(base, token, output))
  return { sessionId, podName: name }
}

/** Removes a pod that its machine will never end; until its Job goes, the Job's controller would hold it. */
export async function removePlayed(podName: string): Promise<void> {
  const pod = ['pod', podName, '-n', SESSIONS]
  if ((await kubectl('get', ...pod, '--ignore-not-found', '-o', 'name')) === '') return
  await kubectl('patch', ...pod, '--type=merge', '-p', '{"metadata":{"finalizers":null}}')
  await kubectl('delete', ...pod, '--ignore-not-found', '--grace-period=0', '--force')
}

/** The pod that the Job's controller would have made, on another machine. A lost machine is waited for only shortly. */
async function podOn(nodeName: string, sessionId: string): Promise<PlayedPod | undefined> {
  const label = `${SESSION_LABEL}=${sessionId}`
  const { items } = await kubectlJson<{ items: JobObject[] }>('get', 'jobs', '-n', SESSIONS, '-l', label)
  const [job] = items
  if (job === undefined) return undefined
  const { name, uid } = job.metadata
  const { metadata, spec } = job.spec.template
  const tolerations = [
    { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 1 },
  ]
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `${name}-played`,
      namespace: SESSIONS,
      labels: metadata.labels,
      finalizers: ['batch.kubernetes.io/job-tracking'],
      ownerReferences: [{ apiVersion: 'batch/v1', kind: 'Job', name, uid, controller: true, blockOwnerDeletion: true }],
    },
    spec: { ...spec, nodeName, tolerations, activeDeadlineSeconds: 3600 },
  }
}

interface JobObject {
  readonly metadata: { readonly name: string; readonly uid: string }
  readonly spec: { readonly template: Pick<Pod, 'spec'> & { readonly metadata: Pick<Pod['metadata'], 'labels'> } }
}
interface PlayedPod {
  readonly apiVersion: 'v1'
  readonly kind: 'Pod'
  readonly metadata: { readonly name: string } & Record<string, unknown>
  readonly spec: Record<string, unknown>
}

function runningStatus(spec: Record<string, unknown>): object {
  const running = { startedAt: new Date().toISOString() }
  const status = ({ name, image }: { name: string; image: string }) => {
    return { name, image, imageID: image, ready: true, started: true, restartCount: 0, state: { running } }
  }
  const of = (field: string) => (spec[field] as { name: string; image: string }[]).map(status)
  const conditions = ['PodScheduled', 'Initialized', 'ContainersReady', 'Ready'].map((type) => ({ ...CONDITION, type }))
  const podIP = '10.244.99.1'
  return {
    phase: 'Running',
    podIP,
    podIPs: [{ ip: podIP }],
    conditions,
    initContainerStatuses: of('initContainers'),
    containerStatuses: of('containers'),
  }
}

async function patchStatus(kind: string, name: string, status: object, ...scope: string[]): Promise<void> {
  const patch = JSON.stringify({ status })
  await kubectl('patch', kind, name, ...scope, '--subresource=status', '--type=merge', '-p', patch)
}

async function playHost(base: string, token: string, output: string): Promise<void> {
  const post = async (path: string, credential: string, body?: string, headers: Record<string, string> = {}) => {
    const authorization = `Bearer ${credential}`
    const init = { method: 'POST', headers: { authorization, ...headers }, signal: AbortSignal.timeout(20_000) }
    const response = await fetch(base + path, { ...init, ...(body !== undefined && { body }) })
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`)
    return response
  }
  const nonce = JSON.stringify({ nonce: 'a machine that is about to go' })
  const claimed = await post('/internal/claim', token, nonce)
  const { reportCredential, sessionId } = ClaimResponse.parse(await claimed.json())
  await post('/internal/started', reportCredential)
  const running: SessionEvent = { type: 'running', at: new Date().toISOString() }
  await post(`/internal/sessions/${sessionId}/events`, reportCredential, JSON.stringify(running))
  await post(`/internal/sessions/${sessionId}/output`, reportCredential, output, { [OUTPUT_HEADERS.offset]: '0' })
}

/** The internal API is reached by no way from outside but this one. */
async function withInternalApi(use: (base: string) => Promise<void>): Promise<void> {
  const forward = spawnKubectl('port-forward', '-n', NAMESPACE, 'service/cliscale-controller', ':7082')
  try {
    const [line] = (await once(forward.stdout, 'data')) as [Buffer]
    const port = /127\.0\.0\.1:(\d+)/.exec(line.toString())?.[1]
    await use(`http://127.0.0.1:${port}`)
  } finally {
    forward.kill()
  }
}
