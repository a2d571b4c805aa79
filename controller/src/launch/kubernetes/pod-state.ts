import { FinalReport } from '@cliscale/contract'
import { CONTAINERS } from './job-names.ts'
import { TERMINAL_PORT } from './job-spec.ts'
import { containersOf, type ContainerStatus, type EndedContainer, type JobObject, type PodObject } from './objects.ts'
import type { Launched, LaunchFault } from '../launcher.ts'
import { findFault, isStartFault } from './pod-fault.ts'
import { told } from './pod-words.ts'

type State = Omit<Launched, 'sessionId' | 'launchId'>

/** What a pod of a session says about its launch. `job` is its owner, where that is known. */
export function podState(pod: PodObject, job?: JobObject): State {
  const isEnded = ['Succeeded', 'Failed'].includes(pod.status?.phase ?? '')
  const report = isEnded ? findReport(pod) : undefined
  const fault = findFault({ pod, job, isEnded, hasReport: report !== undefined })
  const address = isEnded ? undefined : addressOf(pod)
  const wait = isEnded || fault !== undefined ? undefined : findWait(pod)
  return {
    progress: isEnded ? 'ended' : progressOf(pod),
    ...(address !== undefined && { address }),
    ...(wait !== undefined && { wait }),
    ...(fault !== undefined && { fault }),
    ...(report !== undefined && { report }),
  }
}

/** What a Job says about its launch when no pod of it is there: not yet, or not any more. */
export function jobState(job: JobObject): State {
  const isEnded = isFinished(job)
  const fault = isEnded ? findFault({ pod: undefined, job, isEnded, hasReport: false }) : undefined
  return { progress: isEnded ? 'ended' : 'scheduling', ...(fault !== undefined && { fault }) }
}

/** Whether its machine has made all that its containers need: what it lacked for that before, it has now. */
export function isPrepared(pod: PodObject): boolean {
  return condition(pod, 'PodReadyToStartContainers')?.status === 'True'
}

/** Whether a Job is over: nothing of it runs, and nothing of it will. */
export function isFinished(job: JobObject): boolean {
  const conditions = job.status?.conditions ?? []
  return conditions.some(({ type, status }) => ['Complete', 'Failed'].includes(type) && status === 'True')
}

/** The container that serves the terminal: the host of a runner, the one container of a ttyd. */
function serverOf(pod: PodObject): ContainerStatus | undefined {
  return statusOf(pod, CONTAINERS.host) ?? statusOf(pod, CONTAINERS.terminal)
}

function statusOf(pod: PodObject, name: string): ContainerStatus | undefined {
  return containersOf(pod).find((status) => status.name === name)
}

function progressOf(pod: PodObject): Launched['progress'] {
  const server = serverOf(pod)
  // A host that ran once and is started again is no new launch.
  const { running, terminated } = server?.state ?? {}
  if (running || hasRun(terminated) || hasRun(server?.lastState?.terminated)) return 'running'
  return condition(pod, 'PodScheduled')?.status === 'True' ? 'pulling_image' : 'scheduling'
}

function hasRun(ended: EndedContainer | undefined): boolean {
  return ended !== undefined && !isStartFault(ended)
}

function addressOf(pod: PodObject): Launched['address'] {
  const { podIP } = pod.status ?? {}
  const server = serverOf(pod)
  const listens = server?.name === CONTAINERS.terminal ? server.ready : server?.state?.running !== undefined
  return podIP && listens && !awaitsOtherImage(pod) ? { host: podIP, port: TERMINAL_PORT } : undefined
}

/**
 * Whether the command's image is another than the host's and was not started yet. It may never come, which the host
 * can't know: until then viewers are told by the gateway, which knows what the launch waits for.
 */
function awaitsOtherImage(pod: PodObject): boolean {
  const [host, work] = [statusOf(pod, CONTAINERS.host), statusOf(pod, CONTAINERS.work)]
  // Of an image that is there the registry is told too, also where none was named.
  const last = (image = ''): string | undefined => image.split('/').at(-1)
  return work?.state?.waiting !== undefined && last(work.image) !== last(host?.image)
}

const IMAGE_FAULTS = [
  'ErrImagePull',
  'ImagePullBackOff',
  'InvalidImageName',
  'ErrImageNeverPull',
  'ImageInspectError',
  'RegistryUnavailable',
  'SignatureValidationFailed',
]
const CREATE_FAULTS = [
  'CreateContainerConfigError',
  'CreateContainerError',
  'RunContainerError',
  'PreCreateHookError',
  'PreStartHookError',
  'PostStartHookError',
  'CreatePodSandboxError',
]

function findWait(pod: PodObject): LaunchFault | undefined {
  const scheduled = condition(pod, 'PodScheduled')
  if (scheduled?.status === 'False')
    return told('unschedulable', 'No node can take the session yet.', schedulerWords(scheduled))
  for (const status of containersOf(pod)) {
    const wait = containerWait(status)
    if (wait !== undefined) return wait
  }
  // Its containers are ready as far as the machine knows, and the cluster calls it not ready: the machine is silent.
  const isSilent = condition(pod, 'Ready')?.status !== 'True' && condition(pod, 'ContainersReady')?.status === 'True'
  if (isSilent) return told('node_lost', 'The node of the session does not respond.', pod.status?.message)
  return undefined
}

/** What the scheduler says of the machines; what it thinks of preempting others is nothing that a person can use. */
function schedulerWords({ message, reason }: { message?: string; reason?: string }): string | undefined {
  return message?.replace(/\s*(no new claims to deallocate,\s*)?preemption: .*$/s, '') ?? reason
}

function containerWait({ image, lastState, name, state }: ContainerStatus): LaunchFault | undefined {
  const { message, reason } = state?.waiting ?? {}
  if (reason === undefined) return undefined
  if (IMAGE_FAULTS.includes(reason))
    // The two that take turns say the same, so that nothing seems to change.
    return told(
      'image_pull',
      `The image ${image} cannot be pulled yet.`,
      message?.replace(/^Back-off .*?: (ErrImagePull: )?/, ''),
    )
  if (CREATE_FAULTS.includes(reason))
    return told('container_failed', `The container ${name} cannot be created yet.`, message ?? reason)
  if (reason !== 'CrashLoopBackOff') return undefined
  const ended = lastState?.terminated
  // The same words as while it is tried, for the same cause.
  if (ended && isStartFault(ended))
    return told('container_failed', `The container ${name} cannot be created yet.`, ended.message)
  const how = ended?.reason === 'OOMKilled' ? 'because it ran out of memory' : `with exit code ${ended?.exitCode}`
  return told('container_failed', `The container ${name} ended ${how} and is started again.`)
}

function findReport(pod: PodObject): FinalReport | undefined {
  const host = statusOf(pod, CONTAINERS.host)
  if (host === undefined) return terminalReport(statusOf(pod, CONTAINERS.terminal))
  // Who writes it is the host, but what stands there is what a program wrote.
  for (const ended of [host.state?.terminated, host.lastState?.terminated]) {
    const report = FinalReport.safeParse(parseOrUndefined(ended?.message))
    if (report.success) return report.data
  }
  return undefined
}

function parseOrUndefined(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? '')
  } catch {
    return undefined
  }
}

/** An image that brings its own terminal server has no host that could report: its exit is all there is. */
function terminalReport(status: ContainerStatus | undefined): FinalReport | undefined {
  const ended = status?.state?.terminated
  // Its machine lost it, or never ran it: then nothing is known of its end.
  if (ended === undefined || ended.reason === 'ContainerStatusUnknown' || isStartFault(ended)) return undefined
  const { exitCode } = ended
  if (exitCode === 0) return { status: 'succeeded', reason: null, detail: null, exitCode, signal: null }
  const signal = exitCode === 137 ? 'SIGKILL' : exitCode === 143 ? 'SIGTERM' : null
  const reason = ended.reason === 'OOMKilled' ? 'oom_killed' : signal === null ? 'exit_nonzero' : 'killed_by_signal'
  return { status: 'failed', reason, detail: null, exitCode, signal }
}

function condition(pod: PodObject, type: string) {
  return pod.status?.conditions?.find((one) => one.type === type)
}
