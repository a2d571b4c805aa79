import { beforeAll, expect, test } from '@jest/globals'
import {
  componentPods,
  eventually,
  helm,
  kubectl,
  kubectlJson,
  kubectlWith,
  NAMESPACE,
  openApi,
  podsOf,
  SESSIONS,
  state,
  untilStatus,
} from '../src/cluster.ts'
import type { Api } from '../src/system.ts'

/** What sessions find on the internet: the test cluster has no other. */
const SITE = state.clusterFolder === null ? 'github.com' : 'code.example'

/** Runs inside a session: reports for each target whether a TCP connection to it is made within two seconds. */
const PROBE = `
const net = require('node:net')
const dns = require('node:dns/promises')
const reach = ([name, host, port]) => new Promise((resolve) => {
  const end = (word) => { socket.destroy(); resolve(name + '=' + word) }
  const socket = net.connect({ host, port, timeout: 2000 })
    .on('connect', () => end('open')).on('timeout', () => end('silent')).on('error', (error) => end(error.code))
})
const targets = JSON.parse(process.env.TARGETS)
Promise.all(targets.map(reach)).then(async (lines) => {
  lines.push('dns=' + (await dns.lookup('${SITE}').then(() => 'open', (error) => error.code)))
  const https = await fetch('https://${SITE}/').then(({ ok, status }) => (ok ? 'open' : status), (error) => error.cause)
  lines.push('https=' + https)
  for (const line of lines) console.log(line)
})`

let api: Api
beforeAll(async () => {
  api = await openApi()
})

/** Which of these targets a session can reach: a name and `open`, or why not. */
async function reachFromSession(targets: readonly (readonly [string, string, number])[]): Promise<Map<string, string>> {
  const { sessionId } = await api.create({
    command: 'node -e "$PROBE_SCRIPT"',
    env: { PROBE_SCRIPT: PROBE, TARGETS: JSON.stringify(targets) },
  })
  const ended = await api.ended(sessionId, 60_000)
  const log = (await api.logs(sessionId)).toString()
  if (ended.status !== 'succeeded') throw new Error(`${JSON.stringify(ended)}\n${log}`)
  return new Map(
    log
      .trim()
      .split('\r\n')
      .map((line) => line.split('=') as [string, string]),
  )
}

async function firstAddress(component: 'controller' | 'gateway'): Promise<string> {
  return (await componentPods(component)).find(({ status }) => status.podIP)?.status.podIP ?? ''
}

test('a session reaches the internet, DNS and the internal API, and nothing else of the cluster', async () => {
  const other = await api.create({ command: 'sleep 60' })
  await untilStatus(api, other.sessionId, ['running'])
  const neighbour = await eventually('its address', async () => (await podsOf(other.sessionId))[0]?.status.podIP)
  const [controller, gateway] = await Promise.all([firstAddress('controller'), firstAddress('gateway')])
  const node = (
    await kubectl('get', 'nodes', '-o', 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}')
  ).trim()
  const service = `cliscale-controller.${NAMESPACE}.svc`
  const refused: [string, string, number][] = [
    ['API server by its Service', 'kubernetes.default.svc', 443],
    ['API server by its node', node, 6443],
    ['kubelet', node, 10250],
    ['metadata by its address', '169.254.169.254', 80],
    ['metadata by its name', 'metadata.google.internal', 80],
    ['metadata by a name of somebody else', 'rebound.example', 80],
    ['database by its address', '10.99.0.5', 5432],
    ['database by a name', 'database.example', 5432],
    ['terminal of another session', neighbour, 7681],
    ['public API by its Service', service, 80],
    ['public API by its pod', controller, 7080],
    ['metrics of the controller', controller, 9090],
    ['gateway by its Service', `cliscale-gateway.${NAMESPACE}.svc`, 80],
    ['gateway by its pod', gateway, 7081],
    ['metrics of the gateway', gateway, 9090],
  ]
  const allowed: [string, string, number][] = [
    ['internal API', service, 7082],
    ['internet', SITE, 443],
  ]
  const found = await reachFromSession([...refused, ...allowed])
  await api.stop(other.sessionId)
  const open = [...found].filter(([, word]) => word === 'open').map(([name]) => name)
  expect(open).toEqual([...allowed.map(([name]) => name), 'dns', 'https'])
  expect(found.size).toBe(refused.length + allowed.length + 2)
})

test('a command sees no token, service, secret or file of the host, and runs without privileges', async () => {
  const { sessionId } = await api.create({
    command:
      'id -u; ls -A /var/run/secrets /run/secrets /var/lib/cliscale 2>&1; env; touch /x 2>&1; ' +
      'grep -E "^(CapEff|NoNewPrivs|Seccomp):" /proc/self/status; cat /run/cliscale/* 2>&1 | head -c 2000',
  })
  await api.ended(sessionId, 60_000)
  const log = (await api.logs(sessionId)).toString()
  const lines = log.split('\r\n')
  expect(lines[0]).toBe('1000')
  expect(log).not.toMatch(/KUBERNETES_|_SERVICE_|token|eyJ/)
  expect(lines.filter((line) => line.startsWith('CLISCALE_')).map((line) => line.split('=')[0])).toEqual([
    'CLISCALE_SESSION_ID',
  ])
  expect(log).toContain("touch: cannot touch '/x': Read-only file system")
  expect(log).toMatch(/NoNewPrivs:\s+1/)
  expect(log).toMatch(/CapEff:\s+0+\r/)
  expect(log).toMatch(/Seccomp:\s+2/)
})

interface Policies {
  readonly items: readonly { readonly metadata: { readonly name: string; readonly namespace: string } }[]
}

test('helm test passes, and fails once the policies are gone', async () => {
  const testRelease = () => helm(['test', 'cliscale', '-n', NAMESPACE, '--timeout', '3m'])
  await testRelease()
  const namespaces = [NAMESPACE, SESSIONS]
  const saved = await Promise.all(
    namespaces.map((namespace) => kubectlJson<Policies>('get', 'networkpolicies', '-n', namespace)),
  )
  const policies = saved.flatMap(({ items }) => items)
  expect(policies.length).toBeGreaterThan(2)
  try {
    for (const namespace of namespaces) await kubectl('delete', 'networkpolicies', '--all', '-n', namespace)
    const failure = await testRelease().then(
      () => undefined,
      (error: unknown) => error as Error,
    )
    expect(String(failure?.message)).toMatch(/failed|polic/i)
  } finally {
    await restore(policies.map(withoutServerFields))
  }
}, 420_000)

/** As Helm made them, so that the next upgrade still owns them. */
async function restore(objects: object[]): Promise<void> {
  const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects })
  await kubectlWith(list, 'apply', '--server-side', '--force-conflicts', '--field-manager=helm', '-f', '-')
}

function withoutServerFields<T extends { metadata: object }>(object: T): T {
  const metadata = { ...object.metadata } as Record<string, unknown>
  for (const field of ['resourceVersion', 'uid', 'creationTimestamp', 'generation', 'managedFields'])
    delete metadata[field]
  return { ...object, metadata: metadata as T['metadata'] }
}
