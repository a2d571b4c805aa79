import { expect, test } from '@jest/globals'
import { keepEvent } from './cluster-events.ts'

const event = (kind: string, reason: string, message: string) => ({
  metadata: { name: 'a', uid: 'b' },
  involvedObject: { kind, uid: 'c' },
  reason,
  message,
  lastTimestamp: '2026-11-21T14:00:00Z',
})

test.each([
  [
    'a quota',
    event('Job', 'FailedCreate', 'Error creating: pods "a" is forbidden: exceeded quota: q, requested: pods=1'),
    'unschedulable',
    'There is no room for more sessions. pods "a" is forbidden: exceeded quota: q, requested: pods=1',
  ],
  [
    'an admission rule',
    event('Job', 'FailedCreate', 'Error creating: pods "a" is forbidden: violates PodSecurity "restricted:latest"'),
    'container_failed',
    'The cluster refuses the session’s pod. pods "a" is forbidden: violates PodSecurity "restricted:latest"',
  ],
  [
    'a volume',
    event('Pod', 'FailedMount', 'MountVolume.SetUp failed for volume "ca" : configmap "nope" not found'),
    'container_failed',
    'The session’s pod cannot be prepared yet. MountVolume.SetUp failed for volume "ca" : configmap "nope" not found',
  ],
])('%s that prevents a pod is a reason to wait', (_name, raw, reason, detail) => {
  expect(keepEvent(raw)).toEqual({
    metadata: raw.metadata,
    about: 'c',
    at: Date.parse(raw.lastTimestamp),
    wait: { reason, detail },
  })
})

test.each([
  ['an event that the pod’s status explains better', event('Pod', 'FailedScheduling', '0/1 nodes are available')],
  ['a warning about something else', event('Node', 'FailedMount', 'x')],
  ['an event about no object', { metadata: { name: 'a', uid: 'b' } }],
])('%s is dropped', (_name, raw) => expect(keepEvent(raw)).toBeUndefined())

test('an event without a time counts as older than any other', () => {
  expect(keepEvent({ ...event('Pod', 'FailedMount', 'x'), lastTimestamp: null })?.at).toBe(0)
})

test('a value that is not an event is an error', () => expect(() => keepEvent({})).toThrow(TypeError))
