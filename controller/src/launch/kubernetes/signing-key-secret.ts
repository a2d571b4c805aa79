import { KubeConfig } from '@kubernetes/client-node'
import type { KeySecret, StoredKeys } from '../../tokens/rotation.ts'
import { ApiRefusal, createKubernetesApi } from './api.ts'

/** The key of the Secret that holds the PEM, as the chart names it. */
const DATA_KEY = 'signing-key.pem'
const NOTE = 'cliscale.dev/signing-key-rotation'

interface Secret {
  readonly metadata: {
    readonly resourceVersion: string
    readonly annotations?: Readonly<Record<string, string>>
  }
  readonly data?: Readonly<Record<string, string>>
}

/**
 * The Secret of the signing keys in a cluster; the rights to get and update that one are enough. It is here because only
 * this folder loads the client of Kubernetes. The caller closes it. Its calls throw LauncherUnavailable while the cluster
 * does not answer, and Error when it refuses.
 */
export function openKeySecret(options: {
  readonly namespace: string
  readonly name: string
  /** A kubeconfig file. Absent: what a pod is given. */
  readonly kubeconfig?: string | undefined
}): KeySecret & { close(): void } {
  const config = new KubeConfig()
  if (options.kubeconfig === undefined) config.loadFromCluster()
  else config.loadFromFile(options.kubeconfig)
  const api = createKubernetesApi(config)
  const path = `/api/v1/namespaces/${options.namespace}/secrets/${options.name}`
  /** As it was read, so that nothing of it that is not ours is lost. */
  const read = async (): Promise<Secret> => (await api.call({ method: 'GET', path })) as Secret
  return {
    async read(): Promise<StoredKeys> {
      const { data, metadata } = await read()
      const pem = Buffer.from(data?.[DATA_KEY] ?? '', 'base64').toString('utf8')
      return { pem, note: metadata.annotations?.[NOTE], version: metadata.resourceVersion }
    },
    async write({ pem, note, version }: StoredKeys): Promise<boolean> {
      const secret = await read()
      if (secret.metadata.resourceVersion !== version) return false
      const annotations = { ...secret.metadata.annotations, ...(note !== undefined && { [NOTE]: note }) }
      const data = { ...secret.data, [DATA_KEY]: Buffer.from(pem).toString('base64') }
      const body = { ...secret, metadata: { ...secret.metadata, annotations }, data }
      try {
        await api.call({ method: 'PUT', path, body })
        return true
      } catch (error) {
        if (error instanceof ApiRefusal && error.status === 409) return false
        throw error
      }
    },
    close: () => api.close(),
  }
}
