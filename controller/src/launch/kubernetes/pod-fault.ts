import type { Reason } from '@cliscale/contract'
import { CONTAINERS } from './job-names.ts'
import { containersOf, type EndedContainer, type JobObject, type PodObject } from './objects.ts'
import type { LaunchFault } from '../launcher.ts'
import { told } from './pod-words.ts'

/** What is known of a launch when something may have been done to it. */
export interface FaultEvidence {
  readonly pod: PodObject | undefined
  readonly job: JobObject | undefined
  readonly isEnded: boolean
  /** Whether the launch says itself how it ended. */
  readonly hasReport: boolean
}

type Finder = (evidence: FaultEvidence) => LaunchFault | undefined

/** What was done to a launch. What is surest comes first; what only follows from it comes last. */
export function findFault(evidence: FaultEvidence): LaunchFault | undefined {
  for (const find of FINDERS) {
    const fault = find(evidence)
    if (fault !== undefined) return fault
  }
  return undefined
}

const FINDERS: readonly Finder[] = [
  outOfMemory,
  deadline,
  evictedByMachine,
  disrupted,
  lostByMachine,
  couldNotStart,
  deleted,
  jobWithoutPod,
  endedWithoutWord,
]

function outOfMemory({ pod }: FaultEvidence): LaunchFault | undefined {
  const main = mainContainer(pod)
  if (main?.state?.terminated?.reason !== 'OOMKilled') return undefined
  const limit = main.resources?.limits?.['memory']
  return told('oom_killed', `The command exceeded its memory limit${limit ? ` (${limit})` : ''} and was killed.`)
}

function deadline({ job }: FaultEvidence): LaunchFault | undefined {
  const isPast = job?.status?.conditions?.some(
    ({ type, status, reason }) =>
      ['FailureTarget', 'Failed'].includes(type) && status === 'True' && reason === 'DeadlineExceeded',
  )
  return isPast ? told('deadline', 'The session was still running long after its time limit and was ended.') : undefined
}

const OVER_ITS_DISK =
  /exceeds the limit|exceeded its local ephemeral storage limit|exceeds the total limit of containers/

/** What the machine's kubelet says of a pod that it put out, or did not let in: the first that fits. */
const MACHINE_WORDS: readonly (readonly [RegExp, Reason, string])[] = [
  [/^Evicted$/, 'evicted', 'Evicted: the node ran out of resources.'],
  [/^NodeLost$/, 'node_lost', 'The machine of the session disappeared.'],
  [/^(Terminated|Shutdown|NodeShutdown)$/, 'evicted', 'The machine of the session was shut down.'],
  [/^(Preempting|Preempted)$/, 'evicted', 'Something more important took the session’s place.'],
  // The scheduler's word did not hold: OutOfcpu, OutOfmemory, OutOfpods, NodeAffinity, UnexpectedAdmissionError.
  [/^OutOf|Affinity|Admission|NodePorts/, 'evicted', 'The machine refused the session.'],
]

function evictedByMachine({ pod }: FaultEvidence): LaunchFault | undefined {
  const { message, phase, reason } = pod?.status ?? {}
  if (reason === undefined || phase !== 'Failed') return undefined
  if (reason === 'Evicted' && OVER_ITS_DISK.test(message ?? ''))
    return told('disk_full', 'The session exceeded its disk limit.', message)
  const [, word, sentence] = MACHINE_WORDS.find(([pattern]) => pattern.test(reason)) ?? []
  return word && sentence ? told(word, sentence, message) : undefined
}

const DISRUPTIONS: Readonly<Record<string, readonly [Reason, string]>> = {
  PreemptionByScheduler: ['evicted', 'Something more important took the session’s place.'],
  EvictionByEvictionAPI: ['evicted', 'The session was evicted, as when a machine is drained.'],
  DeletionByTaintManager: ['node_lost', 'The machine of the session no longer answers or was taken away.'],
  DeletionByPodGC: ['node_lost', 'The machine of the session is gone.'],
  TerminationByKubelet: ['evicted', 'The machine of the session ended it.'],
}

function disrupted({ pod }: FaultEvidence): LaunchFault | undefined {
  const target = pod?.status?.conditions?.find((one) => one.type === 'DisruptionTarget' && one.status === 'True')
  if (target === undefined) return undefined
  const [reason, sentence] = DISRUPTIONS[target.reason ?? ''] ?? ['evicted', 'The cluster ended the session.']
  return told(reason, sentence, target.message)
}

function lostByMachine({ pod, hasReport }: FaultEvidence): LaunchFault | undefined {
  const isUnknown = mainContainer(pod)?.state?.terminated?.reason === 'ContainerStatusUnknown'
  if (!isUnknown || hasReport) return undefined
  return told('node_lost', 'The machine of the session lost its containers, as after a crash.')
}

/** A container that was made and whose program could not be started. The host is started again; the others are not. */
function couldNotStart({ pod }: FaultEvidence): LaunchFault | undefined {
  const main = mainContainer(pod)
  const ended = main?.state?.terminated
  if (ended === undefined || !isStartFault(ended)) return undefined
  return told('container_failed', `The container ${main?.name} could not be started.`, ended.message)
}

/** Whether a container ended without its program ever having run. */
export function isStartFault({ reason }: EndedContainer): boolean {
  return reason === 'StartError' || reason === 'ContainerCannotRun'
}

function deleted({ pod, hasReport }: FaultEvidence): LaunchFault | undefined {
  const { deletionGracePeriodSeconds = 0, deletionTimestamp } = pod?.metadata ?? {}
  if (deletionTimestamp === undefined || hasReport) return undefined
  // What had ended before is only being cleared away.
  const deletedAt = Date.parse(String(deletionTimestamp)) - deletionGracePeriodSeconds * 1000
  const endedAt = Date.parse(String(mainContainer(pod)?.state?.terminated?.finishedAt))
  return endedAt < deletedAt ? undefined : told('evicted', 'The session’s pod was deleted.')
}

function jobWithoutPod({ pod, job, isEnded }: FaultEvidence): LaunchFault | undefined {
  if (pod !== undefined || !isEnded) return undefined
  const failed = job?.status?.conditions?.find(({ type, status }) => type === 'Failed' && status === 'True')
  return failed && told('evicted', 'The session’s pod was deleted.')
}

function endedWithoutWord({ pod, isEnded, hasReport }: FaultEvidence): LaunchFault | undefined {
  if (!isEnded || hasReport || pod === undefined) return undefined
  const host = containersOf(pod).find((one) => one.name === CONTAINERS.host)
  const ended = mainContainer(pod)?.state?.terminated
  const hostEnded = host?.lastState?.terminated ?? host?.state?.terminated
  if (hostEnded?.reason === 'OOMKilled') return told('runner_lost', 'The session’s host ran out of memory.')
  return told('runner_lost', `The session’s pod ended without a report${exitOf(ended)}.`, pod.status?.message)
}

function exitOf(ended: EndedContainer | undefined): string {
  return ended === undefined ? '' : `, its program with exit code ${ended.exitCode}`
}

/** The container whose end ends the pod. */
function mainContainer(pod: FaultEvidence['pod']) {
  return containersOf(pod).find((one) => one.name === CONTAINERS.work || one.name === CONTAINERS.terminal)
}
