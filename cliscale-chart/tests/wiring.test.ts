import { beforeAll, describe, expect, test } from '@jest/globals'
import { caseNamed, type KubeObject, objectsOf, VALUES_CASES, whyNoHelm } from './helm.ts'
import { type PodTemplate, podTemplates, selects } from './pods.ts'

/** Secrets that exist already in these cases. */
const FOREIGN = [
  'cliscale-database',
  'key-api',
  'keys.cliscale',
  'key-signing',
  'signing-from-secret-manager',
  'registry',
  'cliscale-cert',
]

const hook = ({ metadata }: KubeObject): string => metadata.annotations?.['helm.sh/hook'] ?? ''
const weight = ({ metadata }: KubeObject): number => Number(metadata.annotations?.['helm.sh/hook-weight'] ?? 0)

/** What a pod cannot start without: kind, name and namespace. */
function needsOf(pod: PodTemplate): string[] {
  const { spec } = pod
  const sources = (spec.volumes ?? []).flatMap((volume) => [
    volume,
    ...((volume['projected'] as { sources?: Record<string, unknown>[] } | undefined)?.sources ?? []),
  ]) as { configMap?: { name: string }; secret?: { secretName?: string; name?: string; optional?: boolean } }[]
  const needs = sources.flatMap(({ configMap, secret }) => [
    ...(configMap ? [`ConfigMap ${configMap.name}`] : []),
    ...(secret && !secret.optional ? [`Secret ${secret.secretName ?? secret.name}`] : []),
  ])
  if (spec['serviceAccountName']) needs.push(`ServiceAccount ${spec['serviceAccountName']}`)
  return needs.map((need) => `${need} in ${pod.namespace}`)
}

const identity = ({ kind, metadata }: KubeObject) => `${kind} ${metadata.name} in ${metadata.namespace}`

describe('the checker of what pods need', () => {
  test('finds Secrets, also in projected volumes, ConfigMaps and the service account', () => {
    const [pod] = podTemplates([
      {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'a', namespace: 'n' },
        spec: {
          serviceAccountName: 's',
          containers: [],
          volumes: [
            { name: '1', secret: { secretName: 'b' } },
            { name: '2', projected: { sources: [{ secret: { name: 'c' } }, { configMap: { name: 'd' } }] } },
            { name: '3', secret: { secretName: 'e', optional: true } },
          ],
        },
      },
    ])
    expect(needsOf(pod!)).toEqual(['Secret b in n', 'Secret c in n', 'ConfigMap d in n', 'ServiceAccount s in n'])
  })
})

if (whyNoHelm !== undefined) console.log(`How the chart's objects hang together is not looked at: ${whyNoHelm}.`)
else {
  beforeAll(() => VALUES_CASES.forEach(objectsOf), 120_000)

  describe.each(VALUES_CASES)('the objects of $name', (given) => {
    const objects = () => objectsOf(given)
    const ofKind = (kind: string) => objects().filter((object) => object.kind === kind)

    test('differ from one another, and each names its namespace and its release', () => {
      const names = objects().map(identity)
      expect(names).toEqual([...new Set(names)])
      for (const object of objects()) {
        const isGlobal = /^(Namespace|ClusterRole|ClusterRoleBinding)$/.test(object.kind)
        expect({ name: identity(object), isGlobal }).toEqual({
          name: identity(object),
          isGlobal: object.metadata.namespace === undefined,
        })
        expect(object.metadata.labels).toMatchObject({
          'app.kubernetes.io/name': 'cliscale',
          'app.kubernetes.io/instance': given.release,
        })
      }
    })

    test('include whatever a pod needs, unless it existed before', () => {
      const made = new Set([
        ...objects().map(identity),
        ...FOREIGN.map((name) => `Secret ${name} in ${given.namespace}`),
      ])
      const missing = podTemplates(objects()).flatMap((pod) => needsOf(pod).filter((need) => !made.has(need)))
      expect(missing).toEqual([])
    })

    test('need nothing of the release in a hook before the install', () => {
      const hooks = objects().filter((object) => /pre-install/.test(hook(object)))
      const ready = new Set(FOREIGN.map((name) => `Secret ${name} in ${given.namespace}`))
      for (const object of hooks.toSorted((a, b) => weight(a) - weight(b))) {
        for (const pod of podTemplates([object])) expect(needsOf(pod).filter((need) => !ready.has(need))).toEqual([])
        ready.add(identity(object))
      }
      const shared = podTemplates(objects().filter((object) => !/pre-install/.test(hook(object))))
      for (const { spec } of shared)
        expect(hooks.map(({ metadata }) => metadata.name)).not.toContain(spec['serviceAccountName'])
      // With a database of the release a hook would wait for it for ever, so there is none then.
      const wanted = ['NetworkPolicy', 'ServiceAccount', 'Job'].filter(
        (kind) => kind !== 'NetworkPolicy' || given.name !== 'no-ingress',
      )
      const kinds = hooks.toSorted((a, b) => weight(a) - weight(b)).map(({ kind }) => kind)
      expect(kinds.toSorted((a, b) => wanted.indexOf(a) - wanted.indexOf(b))).toEqual(
        ofKind('StatefulSet').length > 0 ? [] : wanted,
      )
      expect(kinds.at(-1) ?? 'Job').toBe('Job')
      // Only the Job stays, for its log: no other object of a hook belongs to the release.
      const stays = hooks.filter(
        ({ metadata }) => !/hook-succeeded/.test(metadata.annotations!['helm.sh/hook-delete-policy']!),
      )
      expect(stays.map(({ kind }) => kind)).toEqual(hooks.length > 0 ? ['Job'] : [])
    })

    test('give each Service and budget the pods of one Deployment, and ports that those have', () => {
      const pods = podTemplates(objects())
      for (const service of ofKind('Service')) {
        const chosen = pods.filter(
          (pod) =>
            pod.namespace === service.metadata.namespace &&
            selects({ matchLabels: service['spec'].selector }, pod.labels),
        )
        expect(chosen).toHaveLength(1)
        const ports = chosen[0]!.containers.flatMap((one) => one.ports ?? [])
        for (const { targetPort } of service['spec'].ports)
          if (typeof targetPort === 'string') expect(ports.map(({ name }) => name)).toContain(targetPort)
      }
      for (const budget of ofKind('PodDisruptionBudget'))
        expect(pods.filter((pod) => selects(budget['spec'].selector, pod.labels)).map(({ owner }) => owner)).toEqual([
          `Deployment ${budget.metadata.name}`,
        ])
    })

    test('give the Ingress ports of Services, but never the internal one', () => {
      const backends = ofKind('Ingress').flatMap((ingress) =>
        ingress['spec'].rules.flatMap((rule: { http: { paths: { path: string; backend: { service: object } }[] } }) =>
          rule.http.paths.map(({ path, backend }) => [path, backend.service]),
        ),
      )
      const name = ofKind('Deployment').find(({ metadata }) => metadata.name.endsWith('-controller'))!.metadata.name
      const controller = { name, port: { name: 'http' } }
      const gateway = { name: name.replace(/controller$/, 'gateway'), port: { name: 'http' } }
      const wanted = [
        ['/api', controller],
        ['/.well-known', controller],
        ['/healthz', controller],
        ['/readyz', controller],
        ['/openapi.json', controller],
        ['/ws', gateway],
        ['/', gateway],
      ]
      expect(backends).toEqual(given.name === 'no-ingress' ? [] : wanted)
    })

    test('bind roles to accounts that exist, and grant no more than is used', () => {
      const accounts = new Set(ofKind('ServiceAccount').map(identity))
      for (const binding of [...ofKind('RoleBinding'), ...ofKind('ClusterRoleBinding')]) {
        const { roleRef, subjects } = binding as unknown as {
          roleRef: { kind: string; name: string }
          subjects: { name: string; namespace: string }[]
        }
        expect(ofKind(roleRef.kind).map(({ metadata }) => metadata.name)).toContain(roleRef.name)
        for (const { name, namespace } of subjects) expect(accounts).toContain(`ServiceAccount ${name} in ${namespace}`)
        for (const { name } of subjects) expect(name).not.toMatch(/-(session|gateway|migration)$/)
      }
      const verbs: string[] = [...ofKind('Role'), ...ofKind('ClusterRole')].flatMap((role) =>
        role['rules'].map(
          (rule: { resources: string[]; verbs: string[] }) => `${rule.resources.join()}: ${rule.verbs.join()}`,
        ),
      )
      expect(verbs.toSorted()).toEqual([
        'events: list,watch',
        'jobs: create,get,list,watch,delete',
        'pods: get,list,watch,delete',
        'secrets: get,update',
        'tokenreviews: create',
      ])
    })
  })

  describe('the documented names', () => {
    test('belong to a release named cliscale in ws-cli', () => {
      const names = objectsOf(caseNamed('existing-database')).map(identity)
      expect(names).toEqual(
        expect.arrayContaining([
          'Ingress cliscale-ingress in ws-cli',
          'Secret cliscale-api-key in ws-cli',
          'Service cliscale-controller in ws-cli',
          'Service cliscale-gateway in ws-cli',
          'ServiceAccount cliscale-session in ws-cli-sessions',
          'CronJob cliscale-rotate-signing-key in ws-cli',
        ]),
      )
      const job = podTemplates(objectsOf(caseNamed('existing-database'))).find(({ owner }) => owner.startsWith('Job'))!
      expect(job.labels['app.kubernetes.io/component']).toBe('migration')
    })

    test('contain release and namespace when they are cluster-wide', () => {
      const names = objectsOf(caseNamed('cert-manager')).filter(({ kind }) => kind.startsWith('Cluster'))
      expect(names.map(({ metadata }) => metadata.name)).toEqual(Array(2).fill('tools-terminals-cliscale-controller'))
    })

    test('include a sessions namespace with restricted pod security', () => {
      const namespace = objectsOf(caseNamed('existing-database')).find(({ kind }) => kind === 'Namespace')!
      for (const mode of ['enforce', 'warn', 'audit'])
        expect(namespace.metadata.labels![`pod-security.kubernetes.io/${mode}`]).toBe('restricted')
    })
  })
}
