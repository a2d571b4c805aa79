import type { V1Job, V1Pod } from '@kubernetes/client-node'

/** What is kept of an object's metadata. Times are text, as the API server sends them. */
export interface KubernetesObject {
  readonly metadata: Metadata
}
interface Metadata {
  readonly name: string
  readonly uid: string
  readonly labels?: Record<string, string>
  readonly creationTimestamp?: string
  readonly deletionTimestamp?: string
  readonly deletionGracePeriodSeconds?: number
  readonly ownerReferences?: readonly { readonly kind: string; readonly uid: string; readonly controller?: boolean }[]
}
/** What is kept of a pod: no spec, no annotations, no managed fields. */
export interface PodObject extends KubernetesObject {
  readonly status?: V1Pod['status']
}
/** What is kept of a Job: its spec is ours. */
export interface JobObject extends KubernetesObject {
  readonly status?: V1Job['status']
}

/** What is kept of a pod as the API server sends it. Throws when it is none. */
export function keepPod(object: unknown): PodObject {
  const { status } = object as V1Pod
  return { metadata: keepMetadata(object), ...(status && { status }) }
}

/** What is kept of a Job as the API server sends it. Throws when it is none. */
export function keepJob(object: unknown): JobObject {
  const { status } = object as V1Job
  return { metadata: keepMetadata(object), ...(status && { status }) }
}

function keepMetadata(object: unknown): Metadata {
  const { metadata } = object as { metadata: Metadata }
  if (typeof metadata?.uid !== 'string' || typeof metadata.name !== 'string')
    throw new TypeError('no Kubernetes object')
  const { creationTimestamp, deletionGracePeriodSeconds, deletionTimestamp, labels, name, ownerReferences, uid } =
    metadata
  return {
    name,
    uid,
    ...(labels && { labels }),
    ...(creationTimestamp && { creationTimestamp }),
    ...(deletionTimestamp && { deletionTimestamp }),
    ...(deletionGracePeriodSeconds !== undefined && { deletionGracePeriodSeconds }),
    ...(ownerReferences && { ownerReferences }),
  }
}
