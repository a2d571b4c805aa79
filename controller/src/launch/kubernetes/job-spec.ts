import type { V1Container, V1EnvVar, V1Job, V1PodSpec, V1Volume, V1VolumeMount } from '@kubernetes/client-node'
import { hostGraceSeconds, longestSessionSeconds } from '@cliscale/contract'
import { CONTAINERS, jobName, sessionLabels } from './job-names.ts'
import type { LaunchRequest } from '../launcher.ts'
import { parseQuantity } from './quantity.ts'
import type { SessionTemplate } from './session-template.ts'

export interface JobSpecOptions {
  /** Where sessions run. */
  readonly namespace: string
  /** Tells several installations in one namespace apart. */
  readonly instance: string
  /** How a session's host reaches the internal API. */
  readonly controllerUrl: string
  /** How long a session may wait to be claimed. */
  readonly queueLimitSeconds: number
  readonly template: SessionTemplate
}

/** The audience of a host's token: it opens nothing at the Kubernetes API. */
export const TOKEN_AUDIENCE = 'cliscale'
/** Where a session's terminal listens in its pod. */
export const TERMINAL_PORT = 7681
const TOKEN_DIR = '/var/run/secrets/cliscale'
const SPOOL_DIR = '/var/lib/cliscale'
const RELAY_DIR = '/run/cliscale'
const FILES_DIR = '/session'
const CA_FILE = '/etc/cliscale/ca/ca.crt'
/** uid of the command; the host has another, so that neither reads the other's files and processes. */
const WORK_USER = 1000
const HOST_USER = 1001
/** Owns the folder that both share. */
const SHARED_GROUP = 2000
/** Between all that a session may take and the Job's own deadline. */
const DEADLINE_SPARE_SECONDS = 60
/** As Kubernetes has it by default; kubelet renews the token's file before it ends. */
const TOKEN_SECONDS = 3600
const MI = 2 ** 20

/**
 * The Job of a session. It depends on its arguments only, and holds nothing of what the session's owner sent but the id
 * and the time limit (docs/design.md).
 *
 * @throws Error when the request names an image that the operator does not list.
 */
export function jobSpec(request: LaunchRequest, options: JobSpecOptions): V1Job {
  const { template } = options
  const labels = { ...template.labels, ...sessionLabels(options.instance, request.sessionId) }
  const annotations = { ...template.annotations }
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: jobName(request.sessionId), namespace: options.namespace, labels, annotations },
    spec: {
      completions: 1,
      parallelism: 1,
      backoffLimit: 0,
      // No second pod while the first may still run.
      podReplacementPolicy: 'Failed',
      // A backstop only: it deletes the pod with all it could still say. The host keeps the session's own limit.
      activeDeadlineSeconds:
        longestSessionSeconds({ queueSeconds: options.queueLimitSeconds, timeoutSeconds: request.timeoutSeconds }) +
        DEADLINE_SPARE_SECONDS,
      ttlSecondsAfterFinished: template.ttlSecondsAfterFinished,
      template: {
        metadata: {
          labels,
          // A node that is scaled down waits for the session's end instead.
          annotations: { ...annotations, 'cluster-autoscaler.kubernetes.io/safe-to-evict': 'false' },
        },
        spec: podSpec(imageOf(request, template), options),
      },
    },
  }
}

type SessionImage = SessionTemplate['images'][string]

function imageOf({ image }: LaunchRequest, template: SessionTemplate): SessionImage {
  if (image === undefined) return { image: template.runnerImage, kind: 'runner' }
  const found = Object.hasOwn(template.images, image) ? template.images[image] : undefined
  if (found === undefined) throw new Error(`the image ${image} is not in the list of images`)
  return found
}

function podSpec(image: SessionImage, { controllerUrl, template }: JobSpecOptions): V1PodSpec {
  const containers =
    image.kind === 'ttyd'
      ? { containers: [terminal(image.image, template)] }
      : {
          // The trusted half is always our own; only the command runs in the image that was asked for.
          initContainers: [host(template.runnerImage, controllerUrl, template)],
          containers: [work(image.image, template)],
        }
  return {
    ...containers,
    restartPolicy: 'Never',
    serviceAccountName: template.serviceAccountName,
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: template.terminationGracePeriodSeconds,
    securityContext: {
      runAsNonRoot: true,
      fsGroup: SHARED_GROUP,
      seccompProfile: { type: 'RuntimeDefault' },
    },
    volumes: image.kind === 'ttyd' ? ttydVolumes(template) : runnerVolumes(template),
    ...(template.imagePullSecrets.length > 0 && {
      imagePullSecrets: template.imagePullSecrets.map((name) => ({ name })),
    }),
    ...(template.runtimeClassName !== null && { runtimeClassName: template.runtimeClassName }),
    ...(template.priorityClassName !== null && { priorityClassName: template.priorityClassName }),
    ...(Object.keys(template.nodeSelector).length > 0 && { nodeSelector: template.nodeSelector }),
    ...(template.tolerations.length > 0 && { tolerations: template.tolerations }),
  }
}

type Container = { [K in keyof V1Container]: V1Container[K] }

/** What both kinds of container have in common. */
function container(name: string, image: string, user: number, template: SessionTemplate): Container {
  return {
    name,
    image,
    imagePullPolicy: template.imagePullPolicy,
    resources: name === CONTAINERS.host ? template.resources.host : template.resources.work,
    securityContext: {
      runAsUser: user,
      runAsGroup: user,
      runAsNonRoot: true,
      privileged: false,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    },
  }
}

/** Everything but the command: a native sidecar, which Kubernetes starts first, restarts, and ends last. */
function host(image: string, controllerUrl: string, template: SessionTemplate): V1Container {
  return {
    ...container(CONTAINERS.host, image, HOST_USER, template),
    restartPolicy: 'Always',
    // Without an init Node would be process 1, for which a SIGTERM before its handler stands is no signal at all.
    command: ['/opt/cliscale/bin/tini', '--', 'node', '/opt/cliscale/host.js'],
    env: environment(
      {
        CLISCALE_CONTROLLER_URL: controllerUrl,
        CLISCALE_IDENTITY_TOKEN_FILE: `${TOKEN_DIR}/token`,
        CLISCALE_SPOOL_DIR: `${SPOOL_DIR}/spool`,
        CLISCALE_SPOOL_MAX_BYTES: String(spoolMaxBytes(template.spoolSize)),
        CLISCALE_WORKSPACE_DIR: `${RELAY_DIR}/code`,
        CLISCALE_WORK_SOCKET: `${RELAY_DIR}/work.sock`,
        CLISCALE_LISTEN: `0.0.0.0:${TERMINAL_PORT}`,
        CLISCALE_ENDPOINT_FILE: `${SPOOL_DIR}/endpoint.json`,
        CLISCALE_TERMINATION_MESSAGE_FILE: '/dev/termination-log',
        CLISCALE_END_GRACE_SECONDS: String(hostGraceSeconds(template.terminationGracePeriodSeconds)),
      },
      template,
    ),
    ports: [{ name: 'terminal', containerPort: TERMINAL_PORT, protocol: 'TCP' }],
    // A host whose event loop stands still is started again, and goes on from its journal. It needs no grace: it hears
    // no signal. The first probe is late: on a node that starts 50 sessions at once a host takes more than half a minute
    // until it listens, and one that is killed there only adds to what the node has to start. A startup probe would let
    // that wait end early, but the command would wait for it.
    livenessProbe: {
      httpGet: { path: '/healthz', port: TERMINAL_PORT },
      initialDelaySeconds: 120,
      periodSeconds: 5,
      timeoutSeconds: 5,
      failureThreshold: 4,
      terminationGracePeriodSeconds: 1,
    },
    volumeMounts: [
      { name: 'spool', mountPath: SPOOL_DIR },
      { name: 'relay', mountPath: RELAY_DIR },
      { name: 'identity', mountPath: TOKEN_DIR, readOnly: true },
      { name: 'host-tmp', mountPath: '/tmp' },
      ...caMounts(template),
    ],
  }
}

/** The command. The init in front reaps what it leaves behind. */
function work(image: string, template: SessionTemplate): V1Container {
  return {
    ...container(CONTAINERS.work, image, WORK_USER, template),
    command: ['/opt/cliscale/bin/tini', '--', 'node', '/opt/cliscale/work.js'],
    env: environment(
      {
        CLISCALE_WORK_SOCKET: `${RELAY_DIR}/work.sock`,
        CLISCALE_WORKSPACE_DIR: `${FILES_DIR}/workspace`,
        CLISCALE_HOME_DIR: `${FILES_DIR}/home`,
        CLISCALE_CODE_DIR: `${RELAY_DIR}/code`,
      },
      template,
    ),
    volumeMounts: [
      { name: 'relay', mountPath: RELAY_DIR },
      { name: 'files', mountPath: FILES_DIR },
      { name: 'files', mountPath: '/tmp', subPath: 'tmp' },
      ...caMounts(template),
    ],
  }
}

/** An image that brings its own terminal server: it runs what it runs, and gets nothing of ours. */
function terminal(image: string, template: SessionTemplate): V1Container {
  return {
    ...container(CONTAINERS.terminal, image, WORK_USER, template),
    ports: [{ name: 'terminal', containerPort: TERMINAL_PORT, protocol: 'TCP' }],
    readinessProbe: { tcpSocket: { port: TERMINAL_PORT }, periodSeconds: 2, timeoutSeconds: 2, failureThreshold: 3 },
    volumeMounts: [
      { name: 'files', mountPath: FILES_DIR },
      { name: 'files', mountPath: '/tmp', subPath: 'tmp' },
      ...caMounts(template),
    ],
    // The image's own home cannot be written.
    env: environment({ HOME: FILES_DIR }, template),
  }
}

function environment(values: Readonly<Record<string, string>>, template: SessionTemplate): V1EnvVar[] {
  const all = template.extraCaConfigMap === null ? values : { ...values, NODE_EXTRA_CA_CERTS: CA_FILE }
  return Object.entries(all).map(([name, value]) => ({ name, value }))
}

function caMounts({ extraCaConfigMap }: SessionTemplate): V1VolumeMount[] {
  return extraCaConfigMap === null ? [] : [{ name: 'ca', mountPath: '/etc/cliscale/ca', readOnly: true }]
}

function runnerVolumes(template: SessionTemplate): V1Volume[] {
  return [
    { name: 'spool', emptyDir: { sizeLimit: template.spoolSize } },
    // The code waits here until work copies it: it may be as large as the workspace.
    { name: 'relay', emptyDir: { sizeLimit: template.workspaceSize } },
    { name: 'host-tmp', emptyDir: { sizeLimit: '64Mi' } },
    {
      name: 'identity',
      projected: {
        // Readable for the host alone.
        defaultMode: 0o440,
        sources: [
          { serviceAccountToken: { audience: TOKEN_AUDIENCE, expirationSeconds: TOKEN_SECONDS, path: 'token' } },
        ],
      },
    },
    ...ttydVolumes(template),
  ]
}

function ttydVolumes({ extraCaConfigMap, workspaceSize }: SessionTemplate): V1Volume[] {
  const files: V1Volume = { name: 'files', emptyDir: { sizeLimit: workspaceSize } }
  if (extraCaConfigMap === null) return [files]
  const { name, key } = extraCaConfigMap
  return [files, { name: 'ca', configMap: { name, items: [{ key, path: 'ca.crt' }] } }]
}

/** What of the spool's volume is left for output, when the host's journal and records have their part. */
function spoolMaxBytes(size: string): number {
  return Math.floor((parseQuantity(size) ?? 0) * 0.9 - 8 * MI)
}
