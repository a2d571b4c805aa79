import type { V1ContainerStateTerminated, V1ContainerStatus, V1JobStatus, V1PodStatus } from '@kubernetes/client-node'

/** An object as JSON has it: times are text. */
export type Plain<T> = T extends Date
  ? string
  : T extends (infer U)[]
    ? Plain<U>[]
    : T extends object
      ? { [K in keyof T]: Plain<T[K]> }
      : T

export type ContainerStatus = Plain<V1ContainerStatus>
export type EndedContainer = Plain<V1ContainerStateTerminated>

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
  readonly status?: Plain<V1PodStatus>
}
/** What is kept of a Job: its spec is ours. */
export interface JobObject extends KubernetesObject {
  readonly status?: Plain<V1JobStatus>
}

/** What a pod tells of its containers; the host's comes first. */
export function containersOf(pod: PodObject | undefined): readonly ContainerStatus[] {
  return [...(pod?.status?.initContainerStatuses ?? []), ...(pod?.status?.containerStatuses ?? [])]
}

/** What is kept of a pod as the API server sends it. Throws when it is none. */
export function keepPod(object: unknown): PodObject {
  const { status } = object as Pick<PodObject, 'status'>
  return { metadata: keepMetadata(object), ...(status && { status }) }
}

/** What is kept of a Job as the API server sends it. Throws when it is none. */
export function keepJob(object: unknown): JobObject {
  const { status } = object as Pick<JobObject, 'status'>
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
