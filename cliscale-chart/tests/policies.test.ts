import net from 'node:net'
import { beforeAll, describe, expect, test } from '@jest/globals'
import { jobSpec } from '../../controller/src/launch/kubernetes/job-spec.ts'
import { parseSessionTemplate } from '../../controller/src/launch/kubernetes/session-template.ts'
import { caseNamed, type KubeObject, objectsOf, type ValuesCase, VALUES_CASES, whyNoHelm } from './helm.ts'
import { podTemplates, selects } from './pods.ts'

interface Peer {
  ipBlock?: { cidr: string; except?: string[] }
  podSelector?: Parameters<typeof selects>[0]
  namespaceSelector?: Parameters<typeof selects>[0]
}
interface Rule {
  from?: Peer[]
  to?: Peer[]
  ports?: { protocol?: string; port?: number }[]
}

/** A place in the network: a pod with its namespace, or an address. */
type Place = { namespace: string; labels: Record<string, string> } | { ip: string }

/** Whether the policies let a connection through, read from the objects as an enforcing cluster would. */
function isAllowed(policies: readonly KubeObject[], from: Place, to: Place, port: number): boolean {
  return (
    passes(policies, 'Egress', from, (rule) => matches(rule.to, rule.ports, from, to, port)) &&
    passes(policies, 'Ingress', to, (rule) => matches(rule.from, rule.ports, to, from, port))
  )
}

function passes(
  policies: readonly KubeObject[],
  type: 'Ingress' | 'Egress',
  place: Place,
  fits: (rule: Rule) => boolean,
) {
  if ('ip' in place) return true
  const concerned = policies.filter(
    ({ metadata, spec }) =>
      metadata.namespace === place.namespace &&
      spec.policyTypes.includes(type) &&
      selects(spec.podSelector, place.labels),
  )
  if (concerned.length === 0) return true
  return concerned.some(({ spec }) => (spec[type.toLowerCase()] ?? []).some(fits))
}

function matches(peers: Peer[] | undefined, ports: Rule['ports'], own: Place, other: Place, port: number): boolean {
  if (ports !== undefined && !ports.some((one) => one.port === port)) return false
  if (peers === undefined || peers.length === 0) return true
  return peers.some((peer) => isPeer(peer, own, other))
}

function isPeer(peer: Peer, own: Place, other: Place): boolean {
  if ('ip' in other) {
    if (peer.ipBlock === undefined) return false
    return (
      contains(peer.ipBlock.cidr, other.ip) && !(peer.ipBlock.except ?? []).some((cidr) => contains(cidr, other.ip))
    )
  }
  if (peer.ipBlock !== undefined) return false
  const inNamespace = peer.namespaceSelector
    ? selects(peer.namespaceSelector, { 'kubernetes.io/metadata.name': other.namespace })
    : 'namespace' in own && own.namespace === other.namespace
  return inNamespace && selects(peer.podSelector ?? {}, other.labels)
}

function contains(cidr: string, ip: string): boolean {
  const [network, bits] = cidr.split('/') as [string, string]
  const family = net.isIPv6(network) ? 'ipv6' : 'ipv4'
  if ((family === 'ipv6') !== net.isIPv6(ip)) return false
  const list = new net.BlockList()
  list.addSubnet(network, Number(bits), family)
  return list.check(ip, family)
}

const SESSION_ID = '0b8f3a52-7a1e-4b6e-9c55-0f2d6c1e4a11'

/** The labels of a session's pod, as the controller of this installation makes it. */
function sessionPlace(given: ValuesCase): Extract<Place, { labels: unknown }> {
  const objects = objectsOf(given)
  const template = objects.find(({ metadata }) => metadata.name.endsWith('-session-template'))!
  const controller = podTemplates(objects)
    .flatMap(({ containers }) => containers)
    .find(({ name }) => name === 'controller')!
  const setting = (name: string) => controller.env!.find((one) => one.name === name)!.value!
  const job = jobSpec(
    { sessionId: SESSION_ID, timeoutSeconds: 60 },
    {
      namespace: setting('CLISCALE_KUBERNETES_NAMESPACE'),
      instance: setting('CLISCALE_INSTANCE'),
      controllerUrl: setting('CLISCALE_INTERNAL_URL'),
      queueLimitSeconds: 60,
      template: parseSessionTemplate(template['data']['session.json']),
    },
  )
  return { namespace: job.metadata!.namespace!, labels: job.spec!.template.metadata!.labels! }
}

describe('the reader of policies', () => {
  const policy = (spec: object): KubeObject => ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'p', namespace: 'a' },
    spec: { podSelector: {}, policyTypes: ['Egress'], ...spec },
  })
  const pod = { namespace: 'a', labels: { app: 'x' } }
  const internet = { ipBlock: { cidr: '0.0.0.0/0', except: ['10.0.0.0/8'] } }

  test('allows everything without a policy, and nothing with an empty one', () => {
    expect(isAllowed([], pod, { ip: '10.0.0.1' }, 80)).toBe(true)
    expect(isAllowed([policy({})], pod, { ip: '10.0.0.1' }, 80)).toBe(false)
    expect(isAllowed([policy({ podSelector: { matchLabels: { app: 'y' } } })], pod, { ip: '10.0.0.1' }, 80)).toBe(true)
  })

  test('respects exceptions, ports, namespaces and both ends', () => {
    const egress = [policy({ egress: [{ to: [internet], ports: [{ port: 443 }] }] })]
    expect(isAllowed(egress, pod, { ip: '1.1.1.1' }, 443)).toBe(true)
    expect(isAllowed(egress, pod, { ip: '1.1.1.1' }, 80)).toBe(false)
    expect(isAllowed(egress, pod, { ip: '10.1.1.1' }, 443)).toBe(false)
    expect(isAllowed(egress, pod, { namespace: 'b', labels: {} }, 443)).toBe(false)
    const ingress = [policy({ policyTypes: ['Ingress'], ingress: [{ from: [{ podSelector: {} }] }] })]
    expect(isAllowed(ingress, pod, pod, 1)).toBe(true)
    expect(isAllowed(ingress, { namespace: 'b', labels: {} }, pod, 1)).toBe(false)
  })
})

if (whyNoHelm !== undefined) console.log(`The chart's policies are not looked at: ${whyNoHelm}.`)
else {
  beforeAll(() => VALUES_CASES.forEach(objectsOf), 120_000)
  const guarded = VALUES_CASES.filter(({ name }) => name !== 'no-ingress')

  describe.each(guarded)('the policies of $name', (given) => {
    const policies = () => objectsOf(given).filter(({ kind }) => kind === 'NetworkPolicy')
    const place = (component: string) => {
      const pod = podTemplates(objectsOf(given)).find(
        ({ labels, owner }) => labels['app.kubernetes.io/component'] === component && !owner.includes('-test-'),
      )
      if (pod === undefined) throw new TypeError(`no pod of ${component}`)
      return { namespace: pod.namespace, labels: pod.labels as Record<string, string> }
    }
    const reaches = (from: Place, to: Place, port: number) => isAllowed(policies(), from, to, port)
    const dns = { namespace: 'kube-system', labels: { 'k8s-app': 'kube-dns' } }

    test('let a session, as the controller makes it, reach DNS, the internal port and the internet', () => {
      const session = sessionPlace(given)
      expect(reaches(session, dns, 53)).toBe(true)
      expect(reaches(session, place('controller'), 7082)).toBe(true)
      expect(reaches(session, { ip: '140.82.112.3' }, 443)).toBe(true)
      expect(reaches(session, { ip: '2606:4700::1111' }, 443)).toBe(true)
    })

    test('let it reach nothing else: no address of a cluster, no metadata, no other pod', () => {
      const session = sessionPlace(given)
      for (const ip of [
        '10.96.0.1',
        '172.16.0.2',
        '192.168.1.1',
        '100.64.3.3',
        '198.18.0.2',
        '127.0.0.1',
        '0.0.0.0',
        '169.254.169.254',
        'fd00::1',
        'fe80::1',
        '::1',
        '::ffff:10.0.0.1',
        '64:ff9b::a9fe:a9fe',
        '2002:a00:1::',
      ])
        expect({ ip, allowed: reaches(session, { ip }, 443) }).toEqual({ ip, allowed: false })
      const others: [Place, number][] = [
        [place('controller'), 7080],
        [place('controller'), 9090],
        [place('gateway'), 7081],
        [session, 7681],
        [{ namespace: given.namespace, labels: { app: 'other' } }, 443],
        [dns, 443],
      ]
      for (const [other, port] of others)
        expect({ other, port, allowed: reaches(session, other, port) }).toMatchObject({ allowed: false })
    })

    test('let only the gateway reach a terminal', () => {
      const session = sessionPlace(given)
      expect(reaches(place('gateway'), session, 7681)).toBe(true)
      expect(reaches(place('gateway'), session, 22)).toBe(false)
      for (const component of ['controller', 'migration']) expect(reaches(place(component), session, 7681)).toBe(false)
      expect(reaches({ namespace: 'elsewhere', labels: place('gateway').labels }, session, 7681)).toBe(false)
      expect(reaches({ namespace: given.namespace, labels: {} }, session, 7681)).toBe(false)
      expect(reaches({ ip: '10.0.0.9' }, session, 7681)).toBe(false)
    })

    test('let only sessions reach the internal port, and let nothing else in their namespace out', () => {
      const session = sessionPlace(given)
      for (const component of ['gateway', 'migration'])
        expect(reaches(place(component), place('controller'), 7082)).toBe(false)
      expect(reaches({ namespace: 'elsewhere', labels: session.labels }, place('controller'), 7082)).toBe(false)
      const unknown = { namespace: session.namespace, labels: { app: 'x' } }
      expect(reaches(unknown, place('controller'), 7082)).toBe(false)
      expect(reaches(unknown, { ip: '140.82.112.3' }, 443)).toBe(false)
    })

    test('let the services reach what they need', () => {
      const values = policies().find(({ metadata }) => metadata.name.endsWith('-controller'))!
      expect(values).toBeDefined()
      expect(reaches(place('gateway'), place('controller'), 7080)).toBe(true)
      for (const component of ['controller', 'gateway', 'migration'])
        expect(reaches(place(component), dns, 53)).toBe(true)
      expect(
        reaches(
          place('controller'),
          { ip: given.name === 'private-network' ? '198.18.0.2' : '172.16.0.2' },
          given.name === 'private-network' ? 6443 : 443,
        ),
      ).toBe(true)
      expect(reaches(place('gateway'), { ip: '172.16.0.2' }, 6443)).toBe(false)
    })

    test('are what `helm test` checks, from a pod with access and one without', () => {
      const ports: Record<string, [to: () => Place, port: number]> = {
        'controller:80': [() => place('controller'), 7080],
        'controller:7082': [() => place('controller'), 7082],
        'gateway:80': [() => place('gateway'), 7081],
        'listener:7681': [() => sessionPlace(given), 7681],
      }
      const asked = ['gateway', 'stranger'].flatMap((name) => {
        const pod = podTemplates(objectsOf(given)).find(({ owner }) => owner.endsWith(`-test-${name}`))!
        const from = { namespace: pod.namespace, labels: pod.labels as Record<string, string> }
        const { data } = objectsOf(given).find(({ data }) => data?.[`${name}.json`])!
        const plan = JSON.parse(data[`${name}.json`]) as Record<'allowed' | 'refused', { address: string }[]>
        return (['allowed', 'refused'] as const).flatMap((wanted) =>
          (plan[wanted] ?? []).map(({ address }) => {
            const [to, port] = ports[/-(\w+)\./.exec(address)![1] + address.slice(address.lastIndexOf(':'))]!
            return { name, address, wanted, found: reaches(from, to(), port) ? 'allowed' : 'refused' }
          }),
        )
      })
      expect(asked.length).toBeGreaterThanOrEqual(3)
      for (const { wanted, found, ...what } of asked) expect({ ...what, found }).toEqual({ ...what, found: wanted })
    })

    test('contain exceptions only inside their networks, as Kubernetes requires', () => {
      for (const block of JSON.stringify(policies()).match(/\{"cidr":[^}]*\}/g) ?? []) {
        const { cidr, except = [] } = JSON.parse(block) as { cidr: string; except?: string[] }
        for (const one of except) {
          expect({ one, inside: contains(cidr, one.split('/')[0]!) }).toEqual({ one, inside: true })
          expect(Number(one.split('/')[1])).toBeGreaterThan(Number(cidr.split('/')[1]))
        }
      }
    })
  })

  describe('values', () => {
    test('close a cluster’s public networks to sessions, and open a git server inside', () => {
      const policies = objectsOf(caseNamed('private-network')).filter(({ kind }) => kind === 'NetworkPolicy')
      const session = sessionPlace(caseNamed('private-network'))
      const reaches = (ip: string, port: number) => isAllowed(policies, session, { ip }, port)
      expect(reaches('203.0.113.7', 443)).toBe(false)
      expect(reaches('34.118.225.1', 443)).toBe(false)
      expect(reaches('2600:1900:4000::1', 443)).toBe(false)
      expect(reaches('10.20.0.5', 443)).toBe(true)
      expect(reaches('140.82.112.3', 25)).toBe(false)
    })

    test('let every pod on GKE reach DNS at its addresses there, and nothing else at them', () => {
      for (const name of ['staging', 'production']) {
        const objects = objectsOf(caseNamed(name))
        const policies = objects.filter(({ kind }) => kind === 'NetworkPolicy')
        const session = sessionPlace(caseNamed(name))
        const pods = podTemplates(objects)
          .filter(({ owner }) => !owner.includes('-test'))
          .map(({ namespace, labels }) => ({ namespace, labels: labels as Record<string, string> }))
        for (const ip of ['169.254.20.10', '169.254.169.254']) {
          for (const pod of [session, ...pods]) expect(isAllowed(policies, pod, { ip }, 53)).toBe(true)
          expect(isAllowed(policies, session, { ip }, 80)).toBe(false)
        }
      }
    })

    test('let only its three users reach a database of the release', () => {
      const objects = objectsOf(caseNamed('trial-database'))
      const policies = objects.filter(({ kind }) => kind === 'NetworkPolicy')
      const pods = podTemplates(objects)
      const at = (component: string) => {
        const { namespace, labels } = pods.find((pod) => pod.labels['app.kubernetes.io/component'] === component)!
        return { namespace, labels: labels as Record<string, string> }
      }
      for (const component of ['controller', 'gateway', 'migration'])
        expect(isAllowed(policies, at(component), at('postgresql'), 5432)).toBe(true)
      expect(isAllowed(policies, at('key-rotation'), at('postgresql'), 5432)).toBe(false)
      expect(isAllowed(policies, sessionPlace(caseNamed('trial-database')), at('postgresql'), 5432)).toBe(false)
      expect(isAllowed(policies, at('postgresql'), { ip: '140.82.112.3' }, 443)).toBe(false)
    })

    test('open metrics to the namespaces that they name', () => {
      const given = caseNamed('cert-manager')
      const policies = objectsOf(given).filter(({ kind }) => kind === 'NetworkPolicy')
      const pod = podTemplates(objectsOf(given)).find(
        ({ labels }) => labels['app.kubernetes.io/component'] === 'gateway',
      )!
      const gateway = { namespace: given.namespace, labels: pod.labels as Record<string, string> }
      expect(isAllowed(policies, { namespace: 'monitoring', labels: {} }, gateway, 9090)).toBe(true)
      expect(isAllowed(policies, { namespace: 'default', labels: {} }, gateway, 9090)).toBe(false)
      expect(isAllowed(policies, { namespace: 'default', labels: {} }, gateway, 7081)).toBe(true)
    })
  })
}
