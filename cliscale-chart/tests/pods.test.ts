import { beforeAll, describe, expect, test } from '@jest/globals'
import { podSecurityFindings } from '@cliscale/test-kit'
import { caseNamed, objectsOf, VALUES_CASES, whyNoHelm } from './helm.ts'
import { amount, type Container, containerFaults, podTemplates, selects } from './pods.ts'

const resources = { requests: { cpu: '100m', memory: '1Gi' }, limits: { cpu: 1, memory: '1024Mi' } }
const container = (change: Partial<Container>): Container => ({ name: 'a', image: 'a/b:1', resources, ...change })

describe('the checker of containers', () => {
  test('accepts a good one', () => {
    expect(containerFaults(container({}))).toEqual([])
    expect(containerFaults(container({ image: 'registry:5000/a@sha256:00' }))).toEqual([])
  })

  test.each([
    [{ image: undefined }, 'has no image'],
    [{ image: 'registry:5000/a/b' }, 'image registry:5000/a/b has no tag'],
    [{ image: 'a:latest' }, 'image a:latest is the latest'],
    [{ resources: undefined }, 'requests no cpu'],
    [{ resources: { ...resources, limits: undefined } }, 'has no limit of memory'],
    [{ resources: { ...resources, requests: { cpu: 2, memory: '1Gi' } } }, 'requests 2 of cpu, more than its limit 1'],
    [
      { resources: { ...resources, limits: { cpu: 1, memory: '1G' } } },
      'requests 1Gi of memory, more than its limit 1G',
    ],
  ])('finds %j', (change, fault) => {
    expect(containerFaults(container(change))).toContain(fault)
  })

  test('selects by every label, and by lists', () => {
    expect(selects({ matchLabels: { a: '1' } }, { a: '1', b: '2' })).toBe(true)
    expect(selects({ matchLabels: { a: '1', c: '3' } }, { a: '1' })).toBe(false)
    const expression = { key: 'a', operator: 'In', values: ['1', '2'] }
    expect(selects({ matchExpressions: [expression] }, { a: '2' })).toBe(true)
    expect(selects({ matchExpressions: [expression] }, { a: '3' })).toBe(false)
    expect(selects({ matchExpressions: [{ ...expression, operator: 'NotIn' }] }, { a: '1' })).toBe(false)
  })
})

if (whyNoHelm !== undefined) console.log(`The chart's pods are not looked at: ${whyNoHelm}.`)
else {
  beforeAll(() => VALUES_CASES.forEach(objectsOf), 120_000)

  describe.each(VALUES_CASES)('the pods of $name', (given) => {
    const pods = () => podTemplates(objectsOf(given))

    test('are all accepted by a namespace with restricted pod security', () => {
      expect(pods().length).toBeGreaterThanOrEqual(7)
      expect(
        pods().flatMap((pod) => podSecurityFindings(pod).map((finding) => ({ pod: pod.owner, ...finding }))),
      ).toEqual([])
    })

    test('give every container an image with a version, requests and limits, and a read-only root', () => {
      for (const pod of pods())
        for (const one of pod.containers) {
          expect({ pod: pod.owner, container: one.name, faults: containerFaults(one) }).toMatchObject({ faults: [] })
          expect(one['securityContext'].readOnlyRootFilesystem).toBe(true)
          expect(one['securityContext'].runAsNonRoot).toBe(true)
        }
    })

    test('give a Kubernetes token only to the controller and the rotation of keys', () => {
      for (const { owner, spec } of pods()) {
        expect(spec['enableServiceLinks']).toBe(false)
        const asks = /^(Deployment .*-controller|CronJob .*-rotate-signing-key)$/.test(owner)
        expect({ owner, token: spec['automountServiceAccountToken'] }).toEqual({ owner, token: asks })
      }
    })

    test('name no setting and no volume twice, and mount only volumes that exist', () => {
      for (const pod of pods()) {
        const named = (pod.spec.volumes ?? []).map((volume) => String(volume['name']))
        expect(named).toEqual([...new Set(named)])
        for (const name of named) expect(name).toMatch(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/)
        const volumes = new Set([...named, ...pod.claims])
        for (const one of pod.containers) {
          const names = (one.env ?? []).map(({ name }) => name)
          expect(names).toEqual([...new Set(names)])
          for (const mount of one.volumeMounts ?? []) expect(volumes).toContain(mount.name)
          const paths = (one.volumeMounts ?? []).map((mount) => mount.mountPath)
          expect(paths).toEqual([...new Set(paths)])
        }
      }
    })

    test('give a service more time to end than it needs', () => {
      const services = pods().filter(({ owner }) => /^Deployment .*-(controller|gateway)$/.test(owner))
      expect(services).toHaveLength(2)
      for (const { spec, containers } of services) {
        const main = containers.at(-1)!
        const drain = Number(main.env!.find(({ name }) => name === 'CLISCALE_DRAIN_SECONDS')!.value)
        expect(spec['terminationGracePeriodSeconds']).toBeGreaterThan(
          drain + (main['lifecycle']?.preStop.sleep.seconds ?? 0),
        )
        expect(main['livenessProbe'].httpGet).toEqual({ path: '/healthz', port: 'http' })
        expect(main['readinessProbe'].httpGet).toEqual({ path: '/readyz', port: 'http' })
      }
    })

    test('give a session volumes that fit into its containers’ limits', () => {
      const { data } = objectsOf(given).find(({ metadata }) => metadata.name.endsWith('-session-template'))!
      const { resources: of, workspaceSize, spoolSize } = JSON.parse(data['session.json'])
      const limit = (part: string) => amount(of[part].limits['ephemeral-storage'])
      expect(limit('work')).toBeGreaterThan(amount(workspaceSize))
      expect(limit('host')).toBeGreaterThan(amount(spoolSize))
    })
  })

  describe('the profiles for GKE', () => {
    test('make sessions that fit into the 10 GiB of disk that Autopilot gives a pod', () => {
      for (const name of ['staging', 'production']) {
        const template = objectsOf(caseNamed(name)).find(({ metadata }) => metadata.name.endsWith('-session-template'))!
        const { resources: of, runtimeClassName } = JSON.parse(template['data']['session.json'])
        const sum = ['host', 'work'].reduce((total, part) => total + amount(of[part].limits['ephemeral-storage']), 0)
        expect(sum).toBeLessThanOrEqual(10 * 2 ** 30)
        expect(runtimeClassName).toBe('gvisor')
      }
    })

    test('start the Cloud SQL proxy first, as a native sidecar, and contain no password', () => {
      const objects = objectsOf(caseNamed('staging'))
      const pods = podTemplates(objects).filter(({ containers }) => containers.some(({ env }) => hasDatabase(env)))
      expect(pods.map(({ owner }) => owner).toSorted()).toEqual([
        'Deployment cliscale-controller',
        'Deployment cliscale-gateway',
        'Job cliscale-migration',
      ])
      for (const { spec } of pods) {
        const [proxy] = spec['initContainers'] as Container[]
        expect(proxy).toMatchObject({ name: 'cloud-sql-proxy', restartPolicy: 'Always' })
        expect(proxy!.args).toEqual(
          expect.arrayContaining(['--auto-iam-authn', '--private-ip', 'acme:us-central1:cliscale']),
        )
        expect(proxy!['startupProbe'].httpGet.path).toBe('/startup')
      }
      expect(JSON.stringify(objects)).not.toMatch(/postgres:\/\/[^@"]*:[^@"]*@/)
      expect(objects.filter(({ kind }) => kind === 'Secret').map(({ metadata }) => metadata.name)).toEqual([
        'cliscale-api-key',
        'cliscale-data-key',
        'cliscale-signing-key',
      ])
    })
  })
}

function hasDatabase(env: Container['env']): boolean {
  return (env ?? []).some(({ name }) => name.startsWith('CLISCALE_DATABASE_URL'))
}
