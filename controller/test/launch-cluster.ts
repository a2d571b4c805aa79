import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { createLogger } from '@cliscale/service-kit'
import { SESSION_LABEL } from '../src/launch/kubernetes/job-names.ts'
import {
  createKubernetesLauncher,
  type KubernetesLauncherOptions,
} from '../src/launch/kubernetes/kubernetes-launcher.ts'
import type { KubernetesLauncher } from '../src/launch/kubernetes/kubernetes-launcher.ts'
import { SessionTemplate } from '../src/launch/kubernetes/session-template.ts'
import { expectEventually, type LauncherUnderTest } from './launch-contract.ts'

const run = promisify(execFile)
/** The cluster's kubeconfig, with rights to make a namespace. kubectl must be in PATH. */
const ADMIN = process.env['E2E_KUBECONFIG']
/** Made of launch-programs/pod, where the cluster finds it. */
const IMAGE = process.env['E2E_LAUNCH_IMAGE'] ?? 'cliscale/launch-programs:dev'

/** What a launcher may do, and nothing else: as the chart grants it. */
const RULES = [
  { apiGroups: ['batch'], resources: ['jobs'], verbs: ['create', 'get', 'list', 'watch', 'delete'] },
  { apiGroups: [''], resources: ['pods'], verbs: ['get', 'list', 'watch', 'delete'] },
  { apiGroups: [''], resources: ['events'], verbs: ['list', 'watch'] },
]

/** Whether there is a cluster to test on; says so when there is none. */
export function hasCluster(): boolean {
  if (ADMIN) return true
  console.log('The launcher of Jobs is not tested: E2E_KUBECONFIG names no cluster.')
  return false
}

interface ContainerStatus {
  readonly name: string
  readonly containerID?: string
  readonly restartCount: number
  readonly state: { readonly running?: object }
}
/** As much of a pod as tests look at. */
export interface SeenPod {
  readonly metadata: {
    readonly name: string
    readonly uid: string
    readonly ownerReferences?: readonly { readonly uid: string }[]
  }
  readonly spec: Record<string, unknown>
  readonly status: {
    readonly phase: string
    readonly initContainerStatuses?: readonly ContainerStatus[]
    readonly containerStatuses?: readonly ContainerStatus[]
  }
}

/** A namespace of its own on the cluster, with the rights that the chart grants a controller. */
export interface TestCluster {
  readonly namespace: string
  /** For a launcher, with the rights of the chart. */
  readonly kubeconfig: string
  readonly image: string
  kubectl(...args: string[]): Promise<string>
  kubectlWith(input: unknown, ...args: string[]): Promise<string>
  /** The same kubeconfig with another server in front of the real one, by plain http. */
  kubeconfigVia(port: number): Promise<string>
  readonly server: { readonly url: URL; readonly ca: string }
  pods(sessionId: string): Promise<SeenPod[]>
  dispose(): Promise<void>
}

/** Makes the namespace. The caller disposes of it, with all that is in it. */
export async function createTestCluster(): Promise<TestCluster> {
  const namespace = `launch-${randomBytes(4).toString('hex')}`
  const folder = await mkdtemp(path.join(os.tmpdir(), 'cliscale-cluster-'))
  const env = { ...process.env, KUBECONFIG: ADMIN }
  const kubectl = async (...args: string[]): Promise<string> =>
    (await run('kubectl', ['--request-timeout=20s', ...args], { env, timeout: 60_000, maxBuffer: 1 << 26 })).stdout
  const kubectlWith = async (input: unknown, ...args: string[]): Promise<string> => {
    const running = run('kubectl', args, { env, timeout: 60_000 })
    running.child.stdin?.end(JSON.stringify(input))
    return (await running).stdout
  }
  await kubectlWith({ apiVersion: 'v1', kind: 'List', items: objectsOf(namespace) }, 'apply', '-f', '-')
  const admin = JSON.parse(await kubectl('config', 'view', '--raw', '--minify', '-o', 'json')) as {
    clusters: [{ cluster: { server: string; 'certificate-authority-data': string } }]
  }
  const { cluster } = admin.clusters[0]
  const token = (await kubectl('-n', namespace, 'create', 'token', 'launcher', '--duration=2h')).trim()
  const write = async (name: string, server: object): Promise<string> => {
    const file = path.join(folder, name)
    const users = [{ name: 'launcher', user: { token } }]
    const contexts = [{ name: 'test', context: { cluster: 'test', user: 'launcher' } }]
    const clusters = [{ name: 'test', cluster: server }]
    const config = { apiVersion: 'v1', kind: 'Config', 'current-context': 'test', users, contexts, clusters }
    await writeFile(file, JSON.stringify(config), { mode: 0o600 })
    return file
  }
  return {
    namespace,
    kubectl,
    kubectlWith,
    image: IMAGE,
    kubeconfig: await write('direct', cluster),
    kubeconfigVia: (port) =>
      write(`via-${port}`, { server: `http://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true }),
    server: {
      url: new URL(cluster.server),
      ca: Buffer.from(cluster['certificate-authority-data'], 'base64').toString('utf8'),
    },
    pods: async (sessionId) => {
      const text = await kubectl('-n', namespace, 'get', 'pods', '-l', `${SESSION_LABEL}=${sessionId}`, '-o', 'json')
      return (JSON.parse(text) as { items: SeenPod[] }).items
    },
    dispose: async () => {
      await kubectl('delete', 'clusterrole,clusterrolebinding', `${namespace}-reviews`, '--ignore-not-found')
      await kubectl('delete', 'namespace', namespace, '--wait=false')
      await rm(folder, { recursive: true, force: true })
    },
  }
}

function objectsOf(namespace: string): object[] {
  const metadata = { name: 'launcher', namespace }
  const subjects = [{ kind: 'ServiceAccount', name: 'launcher', namespace }]
  const rbac = 'rbac.authorization.k8s.io'
  const reviews = { name: `${namespace}-reviews` }
  return [
    {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: namespace, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
    },
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'cliscale-session', namespace } },
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata },
    { apiVersion: `${rbac}/v1`, kind: 'Role', metadata, rules: RULES },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'RoleBinding',
      metadata,
      subjects,
      roleRef: { apiGroup: rbac, kind: 'Role', name: 'launcher' },
    },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'ClusterRole',
      metadata: reviews,
      rules: [{ apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] }],
    },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: reviews,
      subjects,
      roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: reviews.name },
    },
  ]
}

/** The launcher of Jobs under test; systems of one cluster do not see each other's sessions. */
export interface KubernetesSystem extends LauncherUnderTest {
  readonly launcher: KubernetesLauncher
  readonly cluster: TestCluster
  readonly options: KubernetesLauncherOptions
  /** Runs a program in a container of the session's pod. */
  exec(sessionId: string, container: string, ...command: string[]): Promise<string>
}

/** Starts one. `dispose` removes its sessions and waits until their pods are gone. */
export function createKubernetesSystem(
  cluster: TestCluster,
  extra: Partial<KubernetesLauncherOptions> = {},
): KubernetesSystem {
  const options: KubernetesLauncherOptions = {
    kubeconfig: cluster.kubeconfig,
    namespace: cluster.namespace,
    instance: `test-${randomBytes(4).toString('hex')}`,
    controllerUrl: 'http://127.0.0.1:9',
    queueLimitSeconds: 600,
    template: templateFor(cluster),
    logger: createLogger({ service: 'test', level: (process.env['TEST_LOG_LEVEL'] as 'info') ?? 'silent' }),
    ...extra,
  }
  const launcher = createKubernetesLauncher(options)
  const all = [launcher]
  const selector = `app.kubernetes.io/instance=${options.instance}`
  const podOf = (id: string): Promise<SeenPod> =>
    expectEventually(async () => (await cluster.pods(id)).find((pod) => running(pod).includes('host')))
  const exec = async (id: string, container: string, ...command: string[]): Promise<string> => {
    const { name } = (await podOf(id)).metadata
    return cluster.kubectl('-n', cluster.namespace, 'exec', name, '-c', container, '--', ...command)
  }
  return {
    launcher,
    cluster,
    options,
    exec,
    restart: async () => {
      const another = createKubernetesLauncher(options)
      all.push(another)
      return another
    },
    tokenOf: (id) => exec(id, 'host', 'cat', '/var/run/secrets/cliscale/token'),
    countRunning: async (id) => (await cluster.pods(id)).flatMap(running).length,
    hostGeneration: async (id) => {
      const [pod] = await cluster.pods(id)
      const host = pod?.status.initContainerStatuses?.[0]
      return host?.state.running === undefined ? undefined : host.containerID
    },
    // A container's first process takes no SIGKILL from within; to Kubernetes this is the same end.
    endHost: async (id, how) =>
      void (await exec(id, 'host', 'sh', '-c', `echo ${how === 'SIGKILL' ? 137 : how} >/var/lib/cliscale/spool/exit`)),
    dispose: async () => {
      for (const one of all) await one.close()
      const scope = ['-n', cluster.namespace, '-l', selector]
      await cluster.kubectl('delete', 'jobs,pods', ...scope, '--wait=false', '--grace-period=1')
    },
  }
}

/** Small, so that many fit on a small cluster. */
export function templateFor(cluster: TestCluster, extra: object = {}): SessionTemplate {
  const requests = { cpu: '10m', memory: '32Mi' }
  return SessionTemplate.parse({
    runnerImage: cluster.image,
    resources: {
      host: { requests, limits: { cpu: '1', memory: '128Mi' } },
      work: { requests, limits: { cpu: '1', memory: '256Mi' } },
    },
    workspaceSize: '64Mi',
    spoolSize: '64Mi',
    terminationGracePeriodSeconds: 30,
    ...extra,
  })
}

function running({ status }: SeenPod): string[] {
  const all = [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])]
  return all.filter(({ state }) => state.running !== undefined).map(({ name }) => name)
}
