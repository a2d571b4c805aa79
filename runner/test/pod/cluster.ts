/** A namespace of its own on a cluster, with a controller in it that sessions' pods report to. */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { SessionEvent, WorkOrder } from '@cliscale/contract'
import { build } from 'esbuild'
import { createCertificate } from '../fetch/certificate.ts'

const run = promisify(execFile)
const IMAGE = process.env['E2E_RUNNER_IMAGE'] ?? 'cliscale/runner:dev'
/** What the controller makes: the contract between the two. */
const JOB = path.join(import.meta.dirname, '../../../controller/src/launch/kubernetes/job-spec-goldens/ca.json')

export interface State {
  readonly events: readonly SessionEvent[]
  readonly calls: readonly string[]
  readonly output: { readonly sha256: string; readonly bytes: number; readonly begin: string; readonly end: string }
}

export interface ContainerStatus {
  readonly name: string
  readonly restartCount: number
  readonly state: Record<string, { exitCode?: number; reason?: string; message?: string }>
  readonly lastState: Record<string, { exitCode?: number; reason?: string; message?: string }>
}

interface Container {
  name: string
  image: string
  env: { name: string; value: string }[]
  resources: { limits: Record<string, string>; requests: Record<string, string> }
  livenessProbe?: { initialDelaySeconds: number }
}

export interface Changes {
  /** Memory of the command's container. */
  readonly memory?: string
  readonly workImage?: string
  readonly codeUrl?: string
  /** When the host is asked for the first time whether it is alive. */
  readonly firstProbeSeconds?: number
  /** The status that claims are answered with. */
  readonly refuseClaim?: number
}

export class Cluster implements AsyncDisposable {
  readonly namespace = `runner-pod-${randomBytes(4).toString('hex')}`
  /** The controller's name in the cluster, which its certificate is for. */
  readonly host = `controller.${this.namespace}.svc`

  async start(): Promise<this> {
    const { namespace, host } = this
    const program = await bundle()
    const { key, cert } = createCertificate(host)
    const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' }
    await this.create({ kind: 'Namespace', apiVersion: 'v1', metadata: { name: namespace, labels } })
    await this.create({ kind: 'ServiceAccount', apiVersion: 'v1', metadata: { name: 'cliscale-session', namespace } })
    await this.create(configMap(namespace, 'company-ca', { 'root.pem': cert }))
    await this.create(configMap(namespace, 'controller', { 'main.mjs': program, 'ca.crt': cert, 'tls.key': key }))
    await this.create(controllerPod(namespace))
    await this.create({
      kind: 'Service',
      apiVersion: 'v1',
      metadata: { name: 'controller', namespace },
      spec: { clusterIP: 'None', selector: { app: 'controller' } },
    })
    await this.kubectl('wait', '--for=condition=Ready', 'pod/controller', '--timeout=60s')
    return this
  }

  async kubectl(...args: string[]): Promise<string> {
    return (await this.run(['-n', this.namespace, ...args])).stdout
  }

  /** Runs a program in a container; what it says, also when it fails. */
  async exec(pod: string, container: string, ...command: string[]): Promise<string> {
    return this.kubectl('exec', pod, '-c', container, '--', ...command)
  }

  /** Starts the pod of a session as the controller specifies it, with the images of this test. */
  async session(order: Partial<WorkOrder>, changes: Changes = {}): Promise<PodSession> {
    const { codeUrl = '', refuseClaim = '' } = changes
    const query = new URLSearchParams({ order: JSON.stringify(order), codeUrl, refuseClaim: `${refuseClaim}` })
    const made = (await this.ask(`make?${query.toString()}`)) as { sessionId: string; port: number }
    const template = (JSON.parse(readFileSync(JOB, 'utf8')) as { spec: { template: Record<string, unknown> } }).spec
      .template as { metadata: object; spec: { initContainers: Container[]; containers: Container[] } }
    for (const container of [...template.spec.initContainers, ...template.spec.containers]) {
      container.image = container.name === 'work' ? (changes.workImage ?? IMAGE) : IMAGE
      const url = container.env.find(({ name }) => name === 'CLISCALE_CONTROLLER_URL')
      if (url !== undefined) url.value = `http://${this.host}:${made.port}`
      // Room for several on a small machine.
      container.resources.requests = { cpu: '10m', memory: '32Mi' }
      if (container.name === 'work' && changes.memory !== undefined)
        container.resources.limits['memory'] = changes.memory
      if (container.livenessProbe && changes.firstProbeSeconds !== undefined)
        container.livenessProbe.initialDelaySeconds = changes.firstProbeSeconds
    }
    const name = `cliscale-${made.sessionId}`
    await this.create({ kind: 'Pod', apiVersion: 'v1', ...template, metadata: { name, namespace: this.namespace } })
    return new PodSession(this, name, made.port)
  }

  async ask(call: string): Promise<unknown> {
    const api = `/api/v1/namespaces/${this.namespace}/pods/controller:7000/proxy/${call}`
    return JSON.parse((await this.run(['get', '--raw', api])).stdout) as unknown
  }

  private async create(object: object): Promise<void> {
    const child = this.run(['create', '-f', '-'])
    child.child.stdin?.end(JSON.stringify(object))
    await child
  }

  private run(args: string[]) {
    const env = { ...process.env, KUBECONFIG: process.env['E2E_KUBECONFIG'] }
    return run('kubectl', ['--request-timeout=30s', ...args], { env, timeout: 90_000, maxBuffer: 1 << 26 })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const args = ['delete', 'namespace', this.namespace, '--ignore-not-found', '--wait=false']
    await this.run(args)
    await this.kubectl('delete', 'pods', '--all', '--force', '--grace-period=0').catch(() => '')
  }
}

export class PodSession {
  readonly name: string
  readonly port: number
  private readonly cluster: Cluster

  constructor(cluster: Cluster, name: string, port: number) {
    this.cluster = cluster
    this.name = name
    this.port = port
  }

  async state(): Promise<State> {
    return (await this.cluster.ask(`state?port=${this.port}`)) as State
  }

  /** What the controller was told of the end. */
  async ended(limitMs = 60_000): Promise<SessionEvent & { type: 'ended' }> {
    const ended = await this.until('its end', limitMs, ({ events }) => events.find((event) => event.type === 'ended'))
    return ended as SessionEvent & { type: 'ended' }
  }

  async outputHas(text: string): Promise<void> {
    await this.until(`"${text}"`, 60_000, ({ output }) => output.end.includes(text) || undefined)
  }

  async called(name: string, times: number): Promise<void> {
    await this.until(`the call "${name}"`, 60_000, ({ calls }) => {
      return calls.filter((call) => call === name).length >= times || undefined
    })
  }

  private async until<T>(what: string, limitMs: number, look: (state: State) => T | undefined): Promise<T> {
    for (const until = Date.now() + limitMs; Date.now() < until; await sleep(300)) {
      const found = look(await this.state())
      if (found !== undefined) return found
    }
    const told = JSON.stringify(await this.state())
    throw new Error(`${what} did not come from ${this.name}; ${told}\n${await this.logs()}`)
  }

  async container(name: 'host' | 'work'): Promise<ContainerStatus> {
    const pod = JSON.parse(await this.cluster.kubectl('get', 'pod', this.name, '-o', 'json')) as {
      status: Record<string, ContainerStatus[] | undefined>
    }
    const all = [...(pod.status['initContainerStatuses'] ?? []), ...(pod.status['containerStatuses'] ?? [])]
    return all.find((status) => status.name === name)!
  }

  /** Resolves when the container has ended for good, with how. */
  async terminated(name: 'host' | 'work', limitMs = 60_000): Promise<{ exitCode: number; message?: string }> {
    for (const until = Date.now() + limitMs; Date.now() < until; await sleep(300)) {
      const { state } = await this.container(name)
      if (state['terminated'] !== undefined) return state['terminated'] as { exitCode: number; message?: string }
    }
    throw new Error(`${name} of ${this.name} does not end\n${await this.logs()}`)
  }

  /** kill -9 from the node where it is this machine; else SIGTERM from inside, whose first process nothing else ends. */
  async killHost(): Promise<void> {
    if (!this.signalHost('SIGKILL'))
      await this.cluster.exec(this.name, 'host', 'node', '-e', 'process.kill(1, "SIGTERM")')
  }

  /** Whether there was one: the node's processes are seen only where it is this machine. */
  signalHost(signal: 'SIGKILL' | 'SIGSTOP'): boolean {
    const hosts = readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && this.isHost(pid))
    for (const pid of hosts) process.kill(Number(pid), signal)
    return hosts.length > 0
  }

  private isHost(pid: string): boolean {
    try {
      const program = readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('/opt/cliscale/host.js')
      return program && readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`.svc:${this.port}\0`)
    } catch {
      return false
    }
  }

  private async logs(): Promise<string> {
    return this.cluster
      .kubectl('logs', this.name, '--all-containers', '--prefix')
      .catch((error: unknown) => String(error))
  }
}

async function bundle(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [path.join(import.meta.dirname, 'controller-pod.ts')],
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    minify: true,
    write: false,
    logLevel: 'warning',
  })
  return outputFiles[0]!.text
}

function configMap(namespace: string, name: string, data: Record<string, string>): object {
  return { kind: 'ConfigMap', apiVersion: 'v1', metadata: { name, namespace }, data }
}

function controllerPod(namespace: string): object {
  const tmp = { name: 'tmp', emptyDir: {} }
  return {
    kind: 'Pod',
    apiVersion: 'v1',
    metadata: { name: 'controller', namespace, labels: { app: 'controller' } },
    spec: {
      terminationGracePeriodSeconds: 0,
      automountServiceAccountToken: false,
      securityContext: {
        runAsNonRoot: true,
        runAsUser: 1000,
        fsGroup: 1000,
        seccompProfile: { type: 'RuntimeDefault' },
      },
      volumes: [tmp, { name: 'program', configMap: { name: 'controller' } }],
      containers: [
        {
          name: 'controller',
          image: IMAGE,
          imagePullPolicy: 'IfNotPresent',
          command: ['node', '/program/main.mjs', '/program', '/tmp/repositories'],
          readinessProbe: { httpGet: { path: '/', port: 7000 }, periodSeconds: 1 },
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
          volumeMounts: [
            { name: 'tmp', mountPath: '/tmp' },
            { name: 'program', mountPath: '/program' },
          ],
        },
      ],
    },
  }
}
