import { ConfigError } from '@cliscale/service-kit'
import { describe, expect, test } from '@jest/globals'
import { parseSessionTemplate } from './session-template.ts'

const least = { runnerImage: 'registry.example.com/cliscale/runner:1.0.0' }
const parse = (input: unknown) => parseSessionTemplate(JSON.stringify(input))
function faults(input: unknown): readonly string[] {
  try {
    parse(input)
  } catch (err) {
    if (err instanceof ConfigError) return err.faults
    throw err
  }
  return []
}

test('everything except the image has a default', () => {
  expect(parse(least)).toEqual({
    ...least,
    imagePullPolicy: 'IfNotPresent',
    imagePullSecrets: [],
    images: {},
    serviceAccountName: 'cliscale-session',
    runtimeClassName: null,
    priorityClassName: null,
    nodeSelector: {},
    tolerations: [],
    labels: {},
    annotations: {},
    resources: {
      host: { requests: { cpu: '50m', memory: '128Mi' }, limits: { cpu: '1', memory: '512Mi' } },
      work: { requests: { cpu: '250m', memory: '512Mi' }, limits: { cpu: '2', memory: '2Gi' } },
    },
    workspaceSize: '10Gi',
    spoolSize: '1Gi',
    extraCaConfigMap: null,
    ttlSecondsAfterFinished: 300,
    terminationGracePeriodSeconds: 120,
  })
})

test('numbers are quantities too, and stay as they were written', () => {
  const { resources } = parse({ ...least, resources: { work: { requests: { cpu: 1 }, limits: { cpu: '1500m' } } } })
  expect(resources.work).toEqual({ requests: { cpu: '1' }, limits: { cpu: '1500m' } })
})

describe('a fault names the path, the limit and the remedy', () => {
  const gpu = { image: 'example.com/gpu:1', kind: 'runner' }
  test.each<[string, unknown, string]>([
    ['no image', {}, 'session template: runnerImage is required'],
    ['nothing', null, 'session template must be an object'],
    ['a list', [], 'session template must be an object'],
    [
      'an image without a tag',
      { runnerImage: 'registry.example.com:5000/runner' },
      'session template: runnerImage has no tag; name the version, as in registry.example.com/team/name:1.2.3 or …@sha256:…',
    ],
    [
      'an invalid image name',
      { runnerImage: 'https://example.com/a:1' },
      'session template: runnerImage must be an image such as registry.example.com/team/name:1.2.3',
    ],
    [
      'an unknown key',
      { ...least, imagez: {} },
      'session template: imagez is not a setting; remove it or correct its name',
    ],
    [
      'an unknown nested key',
      { ...least, resources: { work: { request: {} } } },
      'session template: resources.work.request is not a setting; remove it or correct its name',
    ],
    [
      'a name that is not a DNS label',
      { ...least, images: { My_Image: gpu } },
      'session template: images.My_Image: the name must be lower-case letters, digits and hyphens, at most 63 (a DNS label)',
    ],
    [
      'an unknown kind',
      { ...least, images: { gpu: { ...gpu, kind: 'docker' } } },
      'session template: images.gpu.kind must be runner or ttyd',
    ],
    [
      'a negative size',
      { ...least, workspaceSize: '-1Gi' },
      'session template: workspaceSize must be a quantity such as 500m (CPU), 512Mi or 10Gi, not negative',
    ],
    ['a spool that is too small', { ...least, spoolSize: '1Mi' }, 'session template: spoolSize must be at least 64Mi'],
    [
      'memory without its unit',
      { ...least, resources: { host: { requests: { memory: '512' } } } },
      'session template: resources.host.requests.memory 512 is less than 4Mi; add the unit, as in 512Mi',
    ],
    [
      'no CPU at all',
      { ...least, resources: { host: { requests: { cpu: 0 } } } },
      'session template: resources.host.requests.cpu must be more than 0',
    ],
    [
      'a request above its limit',
      { ...least, resources: { work: { requests: { cpu: '3' }, limits: { cpu: '2500m' } } } },
      'session template: resources.work.requests.cpu 3 is more than the limit 2500m; raise limits.cpu or lower the request',
    ],
    [
      'an unknown resource',
      { ...least, resources: { work: { limits: { disk: '1Gi' } } } },
      'session template: resources.work.limits.disk: the name must be one of cpu, memory, ephemeral-storage, or an extended resource such as example.com/gpu',
    ],
    [
      'a toleration with a wrong effect',
      { ...least, tolerations: [{ effect: 'Never' }] },
      'session template: tolerations.0.effect must be NoSchedule, PreferNoSchedule or NoExecute',
    ],
    ['a wrong type', { ...least, runtimeClassName: 4 }, 'session template: runtimeClassName must be a string'],
    [
      'a time out of range',
      { ...least, terminationGracePeriodSeconds: 5 },
      'session template: terminationGracePeriodSeconds must be a whole number of seconds from 30 to 3600',
    ],
    [
      'an invalid label',
      { ...least, labels: { team: 'a b' } },
      'session template: labels.team must be at most 63 letters, digits, -, _ and ., and start and end with a letter or digit',
    ],
  ])('%s', (_name, input, sentence) => expect(faults(input)).toEqual([sentence]))

  test('all faults at once', () => expect(faults({ workspaceSize: 'x', spoolSize: 'y' })).toHaveLength(3))
  test('refuses text that is not JSON', () => expect(() => parseSessionTemplate('{')).toThrow('not JSON'))
})
