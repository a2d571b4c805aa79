import { readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, test } from '@jest/globals'
import { jobSpec, type JobSpecOptions } from './job-spec.ts'
import { SessionTemplate } from './session-template.ts'

const sessionId = '01234567-89ab-4cde-8f01-23456789abcd'
const request = { sessionId, timeoutSeconds: 3600 }
const runnerImage = 'registry.example.com/cliscale/runner:1.0.0'
const images = {
  gpu: { image: 'registry.example.com/team/gpu@sha256:' + 'a'.repeat(64), kind: 'runner' },
  shell: { image: 'docker.io/tsl0922/ttyd:1.7.7', kind: 'ttyd' },
}
const extraCaConfigMap = { name: 'company-ca', key: 'root.pem' }
const everything = {
  runnerImage,
  imagePullPolicy: 'Always',
  imagePullSecrets: ['registry', 'mirror'],
  images,
  serviceAccountName: 'other',
  runtimeClassName: 'gvisor',
  priorityClassName: 'sessions',
  nodeSelector: { 'cloud.google.com/gke-spot': 'true' },
  tolerations: [{ key: 'sessions', operator: 'Equal', value: 'yes', effect: 'NoSchedule' }],
  labels: {
    team: 'platform',
    'app.kubernetes.io/managed-by': 'somebody-else',
    'cliscale.dev/session-id': 'another',
  },
  annotations: {
    'example.com/cost-centre': '42',
    'cluster-autoscaler.kubernetes.io/safe-to-evict': 'true',
  },
  resources: {
    host: { requests: { cpu: '100m', memory: '200Mi' }, limits: { cpu: '2', memory: '1Gi' } },
    work: {
      requests: { cpu: 1, memory: '4Gi', 'ephemeral-storage': '5Gi', 'nvidia.com/gpu': 1 },
      limits: { cpu: 8, memory: '16Gi', 'ephemeral-storage': '50Gi', 'nvidia.com/gpu': 1 },
    },
  },
  workspaceSize: '50Gi',
  spoolSize: '2Gi',
  extraCaConfigMap,
  ttlSecondsAfterFinished: 3600,
  terminationGracePeriodSeconds: 600,
}

function options(template: unknown): JobSpecOptions {
  return {
    namespace: 'ws-cli-sessions',
    instance: 'cliscale',
    controllerUrl: 'http://cliscale-controller.ws-cli.svc:7082',
    queueLimitSeconds: 600,
    template: SessionTemplate.parse(template),
  }
}

/** The golden file beside this test; CLISCALE_WRITE_GOLDENS=1 writes it again, to review the difference. */
function golden(name: string, value: unknown): unknown {
  const file = new URL(`job-spec-goldens/${name}.json`, import.meta.url)
  if (process.env['CLISCALE_WRITE_GOLDENS'] === '1') writeFileSync(file, JSON.stringify(value, null, 2) + '\n')
  return JSON.parse(readFileSync(file, 'utf8'))
}

test.each<[string, object, unknown]>([
  ['default', request, { runnerImage }],
  ['every-key', { ...request, timeoutSeconds: 86_400 }, everything],
  ['listed-image', { ...request, image: 'gpu' }, { runnerImage, images }],
  ['ttyd', { ...request, image: 'shell' }, { runnerImage, images }],
  ['ca', request, { runnerImage, extraCaConfigMap }],
  ['ttyd-ca', { ...request, image: 'shell' }, { runnerImage, images, extraCaConfigMap }],
])('the Job equals its golden file: %s', (name, asked, template) => {
  const job = jobSpec({ ...request, ...asked }, options(template))
  expect(job).toEqual(golden(name, job))
})

test('the Job lasts longer than its session may wait, fetch, install and run in total', () => {
  const { queueLimitSeconds } = options({ runnerImage })
  const fetchSeconds = 10 * 60
  const installSeconds = 30 * 60
  const job = jobSpec({ ...request, timeoutSeconds: 86_400 }, options({ runnerImage }))
  expect(job.spec?.activeDeadlineSeconds).toBeGreaterThan(queueLimitSeconds + fetchSeconds + installSeconds + 86_400)
})

test('labels of the operator never replace ours', () => {
  const job = jobSpec(request, options(everything))
  for (const metadata of [job.metadata, job.spec?.template.metadata]) {
    expect(metadata?.labels).toMatchObject({
      team: 'platform',
      'app.kubernetes.io/managed-by': 'cliscale-controller',
      'cliscale.dev/session-id': sessionId,
    })
  }
  expect(job.spec?.template.metadata?.annotations).toMatchObject({
    'cluster-autoscaler.kubernetes.io/safe-to-evict': 'false',
  })
})

test.each(['other', '', 'constructor', '__proto__'])('an image that is not on the list is refused: "%s"', (image) => {
  expect(() => jobSpec({ ...request, image }, options({ runnerImage, images }))).toThrow('not in the list of images')
})

describe('what every pod has (restricted pod security)', () => {
  const pods = [{ runnerImage }, everything].flatMap((template) =>
    [undefined, 'gpu', 'shell'].map((image) => {
      const asked = image === undefined ? request : { ...request, image }
      return jobSpec(asked, options({ ...template, images })).spec!.template.spec!
    }),
  )
  test.each(pods)('pod %#', (pod) => {
    expect(pod).toMatchObject({
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
    })
    for (const one of [...(pod.initContainers ?? []), ...pod.containers]) {
      expect(one.securityContext).toMatchObject({
        runAsNonRoot: true,
        privileged: false,
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      })
      expect(one.securityContext?.runAsUser).toBeGreaterThan(0)
      expect(Object.keys(one.resources?.requests ?? {})).toEqual(expect.arrayContaining(['cpu', 'memory']))
      expect(one.resources?.limits?.['memory']).toBeDefined()
      const token = one.volumeMounts?.some((mount) => mount.name === 'identity')
      expect(token).toBe(one.name === 'host')
    }
    for (const volume of pod.volumes ?? []) {
      expect(Object.keys(volume)).toEqual(['name', expect.stringMatching(/^(emptyDir|projected|configMap)$/)])
      if (volume.emptyDir) expect(volume.emptyDir.sizeLimit).toBeDefined()
    }
  })
})
