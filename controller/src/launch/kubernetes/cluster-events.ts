import type { KubernetesObject } from './objects.ts'
import type { LaunchFault } from '../launcher.ts'
import { told } from './pod-words.ts'

/** A warning of the cluster about a Job or a pod, as far as it tells why a launch waits. */
export interface EventObject extends KubernetesObject {
  /** Uid of what it is about. */
  readonly about: string
  readonly at: number
  readonly wait: LaunchFault
}

/** Of everything that the cluster warns of, what no status says. */
const PREPARING = ['FailedMount', 'FailedAttachVolume', 'FailedCreatePodSandBox', 'NetworkNotReady']
/** How the API server says that a quota of the namespace is used up. */
export const OUT_OF_QUOTA = /exceeded quota/

/** What is kept of an event; undefined for one that tells nothing. Throws when it is none. */
export function keepEvent(object: unknown): EventObject | undefined {
  const event = object as RawEvent
  const { involvedObject, message, metadata, reason = '' } = event
  if (typeof metadata?.uid !== 'string' || typeof metadata.name !== 'string')
    throw new TypeError('no Kubernetes object')
  const about = involvedObject?.uid
  const wait = about === undefined ? undefined : waitOf(involvedObject?.kind, reason, message)
  if (about === undefined || wait === undefined) return undefined
  const at = Date.parse(event.lastTimestamp ?? event.series?.lastObservedTime ?? event.eventTime ?? '')
  return { metadata: { name: metadata.name, uid: metadata.uid }, about, at: Number.isNaN(at) ? 0 : at, wait }
}

interface RawEvent {
  readonly metadata?: { readonly name?: string; readonly uid?: string }
  readonly involvedObject?: { readonly kind?: string; readonly uid?: string }
  readonly reason?: string
  readonly message?: string
  readonly lastTimestamp?: string | null
  readonly eventTime?: string | null
  readonly series?: { readonly lastObservedTime?: string } | null
}

function waitOf(kind: string | undefined, reason: string, message: string | undefined): LaunchFault | undefined {
  if (kind === 'Job' && reason === 'FailedCreate') {
    const words = message?.replace(/^Error creating: /, '')
    if (OUT_OF_QUOTA.test(words ?? '')) return told('unschedulable', 'There is no room for more sessions.', words)
    return told('container_failed', 'The cluster refuses the session’s pod.', words)
  }
  if (kind === 'Pod' && PREPARING.includes(reason))
    return told('container_failed', 'The session’s pod cannot be prepared yet.', message)
  return undefined
}
