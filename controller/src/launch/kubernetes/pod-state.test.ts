import { readFileSync } from 'node:fs'
import { describe, expect, test } from '@jest/globals'
import type { JobObject, PodObject } from './objects.ts'
import { isPrepared, jobState, podState } from './pod-state.ts'

interface Capture {
  readonly pod: PodObject
  readonly job?: JobObject
}

/** What Kubernetes 1.35 reported about a real pod, without what nobody reads. */
function captured(name: string): Capture {
  return JSON.parse(readFileSync(new URL(`pod-state-captures/${name}.json`, import.meta.url), 'utf8')) as Capture
}

const address = { host: expect.stringMatching(/^10\.244\./), port: 7681 }
const cannotStart = 'exec: "node": executable file not found in $PATH: unknown'

describe('the state of a pod that a real cluster reported', () => {
  test.each<[string, object]>([
    ['running', { progress: 'running', address }],
    [
      'unschedulable',
      {
        progress: 'scheduling',
        wait: {
          reason: 'unschedulable',
          detail: 'No node can take the session yet. 0/1 nodes are available: 1 Insufficient cpu.',
        },
      },
    ],
    [
      'image-never-pull',
      {
        progress: 'pulling_image',
        wait: {
          reason: 'image_pull',
          detail:
            'The image no/such:1 cannot be pulled yet. Container image "no/such:1" is not present with pull policy of Never',
        },
      },
    ],
    [
      'work-config-error',
      {
        progress: 'running',
        address,
        wait: {
          reason: 'container_failed',
          detail: 'The container work cannot be created yet. configmap "nope" not found',
        },
      },
    ],
    // Only an event mentions it.
    ['volume-missing', { progress: 'pulling_image' }],
    ['host-restarting', { progress: 'running' }],
    ['ttyd-ready', { progress: 'running', address }],
    [
      'deleting',
      { progress: 'running', address, fault: { reason: 'evicted', detail: 'The session’s pod was deleted.' } },
    ],
    [
      'evicting',
      {
        progress: 'running',
        address,
        fault: {
          reason: 'evicted',
          detail: 'The session was evicted, as when a machine is drained. Eviction API: evicting',
        },
      },
    ],
    [
      'work-oom',
      {
        progress: 'ended',
        fault: {
          reason: 'oom_killed',
          detail: 'The command exceeded its memory limit (256Mi) and was killed.',
        },
      },
    ],
    [
      'disk-full',
      {
        progress: 'ended',
        fault: {
          reason: 'disk_full',
          detail: 'The session exceeded its disk limit. Usage of EmptyDir volume "files" exceeds the limit "64Mi".',
        },
      },
    ],
    [
      'succeeded',
      {
        progress: 'ended',
        report: { status: 'succeeded', reason: null, detail: null, exitCode: 0, signal: null },
      },
    ],
    [
      'ttyd-exit-7',
      {
        progress: 'ended',
        report: { status: 'failed', reason: 'exit_nonzero', detail: null, exitCode: 7, signal: null },
      },
    ],
    [
      'ttyd-oom',
      {
        progress: 'ended',
        fault: {
          reason: 'oom_killed',
          detail: 'The command exceeded its memory limit (256Mi) and was killed.',
        },
        report: { status: 'failed', reason: 'oom_killed', detail: null, exitCode: 137, signal: 'SIGKILL' },
      },
    ],
  ])('%s', (name, state) => {
    const { pod, job } = captured(name)
    expect(podState(pod, job)).toEqual(state)
  })

  test('a failing pull reads the same during a try and between tries, and shows no port of ours', () => {
    const states = ['image-pull-error', 'image-pull-backoff'].map((name) => podState(captured(name).pod))
    expect(states[0]).toEqual(states[1])
    expect(states[0]).toEqual({
      progress: 'pulling_image',
      wait: { reason: 'image_pull', detail: expect.stringMatching(/^The image .* cannot be pulled yet\. .*timeout$/) },
    })
    expect(states[0]?.wait?.detail).not.toContain('->')
  })

  test('a program that the image lacks reads the same during a try and between tries', () => {
    const states = ['host-cannot-start', 'host-cannot-start-backoff'].map((name) => podState(captured(name).pod))
    expect(states[0]).toEqual(states[1])
    expect(states[0]?.progress).toBe('pulling_image')
    expect(states[0]?.wait?.detail).toContain(cannotStart)
    expect(podState(captured('work-cannot-start').pod)).toMatchObject({
      progress: 'ended',
      fault: { reason: 'container_failed', detail: expect.stringContaining('exec: "/no/such"') },
    })
  })
})

describe('a pod on a cluster that loses machines', () => {
  const running = captured('running').pod
  const status = (extra: object): PodObject => ({ ...running, status: { ...running.status, ...extra } })
  const failed = (reason: string, message: string) => status({ phase: 'Failed', reason, message })
  const withCondition = (pod: PodObject, one: object): PodObject => ({
    ...pod,
    status: { ...pod.status, conditions: [...(pod.status?.conditions ?? []), one as never] },
  })
  const disrupted = (reason: string) =>
    withCondition(running, { type: 'DisruptionTarget', status: 'True', reason, message: 'why' })
  const work = (state: object) => ({
    containerStatuses: running.status!.containerStatuses!.map((one) => ({ ...one, state })),
  })

  test.each<[string, PodObject, string, string]>([
    ['preemption', disrupted('PreemptionByScheduler'), 'evicted', 'took the session’s place'],
    ['a taint on the node', disrupted('DeletionByTaintManager'), 'node_lost', 'no longer answers'],
    ['the garbage collector', disrupted('DeletionByPodGC'), 'node_lost', 'is gone'],
    ['its own kubelet', disrupted('TerminationByKubelet'), 'evicted', 'ended it. why'],
    ['an unknown reason', disrupted('SomethingNew'), 'evicted', 'The cluster ended the session. why'],
    ['a node that is lost', failed('NodeLost', 'Node a is unresponsive'), 'node_lost', 'Node a is unresponsive'],
    ['node shutdown', failed('Terminated', 'in response to imminent node shutdown'), 'evicted', 'was shut down'],
    [
      'memory of the machine',
      failed('Evicted', 'The node was low on resource: memory.'),
      'evicted',
      'ran out of resources',
    ],
    [
      'disk of a container',
      failed('Evicted', 'Container work exceeded its local ephemeral storage limit "1Gi".'),
      'disk_full',
      'exceeded its disk limit',
    ],
    [
      'disk of the pod',
      failed('Evicted', 'Pod ephemeral local storage usage exceeds the total limit of containers 2Gi.'),
      'disk_full',
      'exceeded its disk limit',
    ],
    ['a machine that is full after all', failed('OutOfcpu', 'Node has no cpu'), 'evicted', 'refused the session'],
    [
      'containers that a machine forgot',
      status(work({ terminated: { exitCode: 137, reason: 'ContainerStatusUnknown' } })),
      'node_lost',
      'lost its containers',
    ],
    [
      'an end without a report',
      status({ ...work({ terminated: { exitCode: 1, reason: 'Error' } }), phase: 'Failed' }),
      'runner_lost',
      'ended without a report, its program with exit code 1',
    ],
  ])('%s', (_name, pod, reason, words) => {
    expect(podState(pod).fault).toEqual({ reason, detail: expect.stringContaining(words) })
  })

  test('a silent machine makes the session wait', () => {
    const conditions = running.status!.conditions!.map((one) =>
      one.type === 'Ready' ? { ...one, status: 'False' } : one,
    )
    expect(podState(status({ conditions }))).toMatchObject({
      progress: 'running',
      address,
      wait: { reason: 'node_lost', detail: 'The node of the session does not respond.' },
    })
  })

  test('a host gives no address while the command’s own image is awaited, because others tell viewers of that wait', () => {
    const awaiting = (image: string): PodObject => {
      const [container] = running.status!.containerStatuses!
      const state = { waiting: { reason: 'ImagePullBackOff', message: 'not found' } }
      return status({ containerStatuses: [{ ...container!, image, state }] })
    }
    const host = running.status!.initContainerStatuses![0]!.image
    expect(podState(awaiting('acme/tools:1'))).toMatchObject({ progress: 'running', wait: { reason: 'image_pull' } })
    expect(podState(awaiting('acme/tools:1')).address).toBeUndefined()
    expect(podState(awaiting(host.replace('docker.io/', ''))).address).toEqual(address)
  })

  test('a pod that had ended before its deletion did not end because of it', () => {
    const { pod } = captured('succeeded')
    const metadata = { ...pod.metadata, deletionTimestamp: '2099-01-01T00:00:30Z', deletionGracePeriodSeconds: 30 }
    expect(podState({ ...pod, metadata }).fault).toBeUndefined()
    const unreported = { ...pod.status, initContainerStatuses: [], phase: 'Running' }
    expect(podState({ metadata, status: unreported }).fault).toBeUndefined()
  })

  test('a Job whose time is over says so before its pod has ended', () => {
    const job = captured('deadline').job!
    expect(podState(running, job).fault?.reason).toBe('deadline')
  })
})

describe('a report counts only when it is valid', () => {
  const { pod } = captured('succeeded')
  const saying = (message: string): PodObject => ({
    ...pod,
    status: {
      ...pod.status,
      initContainerStatuses: pod.status!.initContainerStatuses!.map((one) => ({
        ...one,
        lastState: {},
        state: { terminated: { exitCode: 0, message } },
      })),
    },
  })
  const report = { status: 'failed', reason: 'exit_nonzero', detail: null, exitCode: 3, signal: null }
  test('a valid report', () => expect(podState(saying(JSON.stringify(report))).report).toEqual(report))
  test.each([
    '',
    'null',
    '{',
    JSON.stringify(report).slice(0, -1),
    JSON.stringify({ ...report, status: 'running' }),
    JSON.stringify({ ...report, reason: 'Because of this' }),
    JSON.stringify({ ...report, detail: 'x'.repeat(2001) }),
    JSON.stringify({ ...report, exitCode: '0' }),
    JSON.stringify({ ...report, signal: 'x'.repeat(21) }),
  ])('an invalid report (%#)', (message) => expect(podState(saying(message)).report).toBeUndefined())

  test('a pod that still runs has no report', () => {
    const early = saying(JSON.stringify(report))
    expect(podState({ ...early, status: { ...early.status, phase: 'Running' } }).report).toBeUndefined()
  })
})

test('a pod that lacks only its image is prepared; one that lacks its volume is not', () => {
  expect(isPrepared(captured('image-pull-backoff').pod)).toBe(true)
  for (const name of ['volume-missing', 'unschedulable']) expect(isPrepared(captured(name).pod)).toBe(false)
})

describe('a Job without a pod', () => {
  const { metadata } = captured('running').job!
  const withCondition = (type: string, reason = '') =>
    jobState({ metadata, status: { conditions: [{ type, status: 'True', reason }] } })

  test('waits when it has just been made', () => expect(jobState({ metadata })).toEqual({ progress: 'scheduling' }))
  test('has ended when its pod was deleted', () => {
    expect(jobState(captured('job-without-pod').job!)).toEqual({
      progress: 'ended',
      fault: { reason: 'evicted', detail: 'The session’s pod was deleted.' },
    })
  })
  test('has ended when it completed', () => expect(withCondition('Complete')).toEqual({ progress: 'ended' }))
  test('has ended at its deadline when its time is over', () => {
    expect(jobState(captured('deadline').job!)).toEqual({
      progress: 'ended',
      fault: { reason: 'deadline', detail: 'The session was still running long after its time limit and was ended.' },
    })
  })
  test('waits when it is about to fail', () => expect(withCondition('FailureTarget').progress).toBe('scheduling'))
})
