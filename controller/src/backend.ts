import { mkdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { STOP_LIMITS } from '@cliscale/contract'
import { ConfigError, type Logger } from '@cliscale/service-kit'
import type { Backend } from './config.ts'
import type { WatchStats } from './launch/kubernetes/resource-watch.ts'
import type { Launcher } from './launch/launcher.ts'
import type { ReconcilerTimings } from './reconcile/reconciler.ts'
import type { ImageKinds } from './sessions/images.ts'

/** A backend: where sessions run, and what the controller has to know of it. */
export interface OpenedBackend {
  readonly launcher: Launcher
  readonly localFolders: boolean
  readonly images: ImageKinds
  readonly faultPatienceMs: number
  readonly reconcilerTimings?: Partial<ReconcilerTimings>
  readonly watchStats?: () => WatchStats | undefined
}

export interface BackendOptions {
  readonly backend: Backend
  readonly internalPort: number
  readonly queueLimitSeconds: number
  readonly logger: Logger
  readonly env: NodeJS.ProcessEnv
}

/**
 * Opens a backend. The caller closes its launcher. What only one of them needs is loaded only there.
 *
 * @throws ConfigError when the session template or the kubeconfig can't be used.
 */
export async function openBackend(options: BackendOptions): Promise<OpenedBackend> {
  return options.backend.kind === 'machine'
    ? openMachine(options, options.backend)
    : openCluster(options, options.backend)
}

async function openMachine(
  { internalPort, logger, env }: BackendOptions,
  { dataDir }: Backend & { kind: 'machine' },
): Promise<OpenedBackend> {
  const { createLocalLauncher } = await import('./launch/local/local-launcher.ts')
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  // The two programs of a session lie beside this package; it only knows where.
  const programs = new URL('../../runner/dist/programs/', import.meta.url)
  const launcher = await createLocalLauncher({
    dataDir,
    runDir: path.join(dataDir, 'run'),
    hostProgram: fileURLToPath(new URL('host.js', programs)),
    workProgram: fileURLToPath(new URL('work.js', programs)),
    controllerUrl: `http://127.0.0.1:${internalPort}`,
    environment: {
      PATH: env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin',
      ...(env['LANG'] !== undefined && { LANG: env['LANG'] }),
    },
    logger,
  })
  const reconcilerTimings = { stopLimitMs: STOP_LIMITS.machineMs }
  return { launcher, localFolders: true, images: {}, faultPatienceMs: 0, reconcilerTimings }
}

/** A pod's status follows its containers by about a second. */
const CLUSTER_FAULT_PATIENCE_MS = 2_500

async function openCluster(
  { queueLimitSeconds, logger, env }: BackendOptions,
  { namespace, instance, internalUrl, templateFile }: Backend & { kind: 'cluster' },
): Promise<OpenedBackend> {
  const [{ createKubernetesLauncher }, { parseSessionTemplate }] = await Promise.all([
    import('./launch/kubernetes/kubernetes-launcher.ts'),
    import('./launch/kubernetes/session-template.ts'),
  ])
  const text = await readFile(templateFile, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new ConfigError([`the file of CLISCALE_SESSION_TEMPLATE_FILE cannot be read (${error.code ?? 'error'})`])
  })
  const template = parseSessionTemplate(text)
  const kubeconfig = env['KUBECONFIG']
  const options = { namespace, instance, controllerUrl: internalUrl, queueLimitSeconds, template, logger }
  let launcher: ReturnType<typeof createKubernetesLauncher>
  try {
    launcher = createKubernetesLauncher({ ...options, ...(kubeconfig && { kubeconfig }) })
  } catch {
    // Never what was wrong in it: that would repeat parts of the file.
    throw new ConfigError([
      kubeconfig
        ? 'the kubeconfig that KUBECONFIG names cannot be used'
        : 'there is no kubeconfig: this process is not a pod of a cluster, and KUBECONFIG is not set',
    ])
  }
  const images = Object.fromEntries(Object.entries(template.images).map(([name, { kind }]) => [name, kind]))
  const faultPatienceMs = CLUSTER_FAULT_PATIENCE_MS
  return { launcher, localFolders: false, images, faultPatienceMs, watchStats: () => launcher.watchStats() }
}
