import { SESSION_ID_PATTERN } from '@cliscale/contract'

/** How Kubernetes objects of sessions are named and found again. */
export const SESSION_LABEL = 'cliscale.dev/session-id'
const MANAGER = 'cliscale-controller'
const MANAGED_BY = 'app.kubernetes.io/managed-by'
const INSTANCE = 'app.kubernetes.io/instance'

/** Containers of a session's pod, by what they are for. */
export const CONTAINERS = { host: 'host', work: 'work', terminal: 'terminal' } as const

/** The one name that a session's Job can have: so there is at most one, whoever makes it. */
export function jobName(sessionId: string): string {
  return `cliscale-${sessionId}`
}

/** The labels of Job and pod of a session. */
export function sessionLabels(instance: string, sessionId: string): Record<string, string> {
  return {
    'app.kubernetes.io/name': 'cliscale',
    [INSTANCE]: instance,
    'app.kubernetes.io/component': 'session',
    [MANAGED_BY]: MANAGER,
    [SESSION_LABEL]: sessionId,
  }
}

/** Finds the Jobs and pods of one installation. */
export function sessionSelector(instance: string): string {
  return `${MANAGED_BY}=${MANAGER},${INSTANCE}=${instance},${SESSION_LABEL}`
}

interface Labelled {
  readonly metadata?: { readonly labels?: Readonly<Record<string, string>> }
}

/** The session that an object is of, or undefined when it is not one of this installation's. */
export function sessionOf(object: Labelled, instance: string): string | undefined {
  const labels = object.metadata?.labels ?? {}
  const sessionId = labels[SESSION_LABEL] ?? ''
  const isOurs = labels[MANAGED_BY] === MANAGER && labels[INSTANCE] === instance
  return isOurs && SESSION_ID_PATTERN.test(sessionId) ? sessionId : undefined
}
