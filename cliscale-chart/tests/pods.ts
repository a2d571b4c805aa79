import type { PodShape } from '@cliscale/test-kit'
import type { KubeObject } from './helm.ts'

export interface Container {
  readonly name: string
  readonly image?: string
  readonly restartPolicy?: string
  readonly command?: readonly string[]
  readonly args?: readonly string[]
  readonly env?: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: unknown }[]
  readonly ports?: readonly { readonly name?: string; readonly containerPort: number }[]
  readonly resources?: Record<'requests' | 'limits', Record<string, string | number> | undefined>
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[]
  // eslint-disable-next-line typescript/no-explicit-any -- probes and the rest, read by their paths
  readonly [field: string]: any
}

/** A pod that an object is, or that its controller makes. */
export interface PodTemplate extends PodShape {
  readonly owner: string
  readonly namespace: string
  readonly labels: Readonly<Record<string, string>>
  readonly containers: readonly Container[]
  /** Volumes that a StatefulSet claims for it. */
  readonly claims: readonly string[]
  // eslint-disable-next-line typescript/no-explicit-any -- the rest of the spec
  readonly spec: PodShape['spec'] & Record<string, any>
}

export function podTemplates(objects: readonly KubeObject[]): PodTemplate[] {
  return objects.flatMap((object) => {
    const pod = podOf(object)
    if (pod === undefined) return []
    return {
      ...pod,
      owner: `${object.kind} ${object.metadata.name}`,
      namespace: object.metadata.namespace ?? '',
      labels: pod.metadata?.labels ?? {},
      containers: [...(pod.spec.initContainers ?? []), ...pod.spec.containers] as Container[],
      claims: (object['spec'].volumeClaimTemplates ?? []).map((claim: KubeObject) => claim.metadata.name),
    }
  })
}

function podOf(object: KubeObject): (PodShape & { metadata?: KubeObject['metadata'] }) | undefined {
  if (object.kind === 'Pod') return object as unknown as PodShape & { metadata: KubeObject['metadata'] }
  if (object.kind === 'CronJob') return object['spec'].jobTemplate.spec.template
  return object['spec']?.template?.spec?.containers ? object['spec'].template : undefined
}

/** Faults of one container that no schema finds. */
export function containerFaults(container: Container): string[] {
  return [...imageFaults(container), ...resourceFaults(container)]
}

function imageFaults({ image }: Container): string[] {
  if (!image) return ['has no image']
  const last = image.split('/').at(-1)!
  if (!/[:@]/.test(last)) return [`image ${image} has no tag`]
  return last.endsWith(':latest') ? [`image ${image} is the latest`] : []
}

function resourceFaults({ resources }: Container): string[] {
  const faults: string[] = []
  for (const name of ['cpu', 'memory']) {
    const request = resources?.requests?.[name]
    const limit = resources?.limits?.[name]
    if (request === undefined) faults.push(`requests no ${name}`)
    if (limit === undefined) faults.push(`has no limit of ${name}`)
    if (request !== undefined && limit !== undefined && amount(request) > amount(limit))
      faults.push(`requests ${request} of ${name}, more than its limit ${limit}`)
  }
  return faults
}

const UNITS: Record<string, number> = {
  '': 1,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
}

/** A Kubernetes quantity as a number; NaN when it is none. */
export function amount(quantity: string | number): number {
  const match = /^([\d.]+)(\D*)$/.exec(String(quantity))
  return match ? Number(match[1]) * (UNITS[match[2]!] ?? NaN) : NaN
}

/** Whether a selector of labels selects; matchExpressions with In and NotIn only. */
export function selects(
  selector: {
    matchLabels?: Record<string, string>
    matchExpressions?: { key: string; operator: string; values: string[] }[]
  },
  labels: Readonly<Record<string, string>>,
): boolean {
  const plain = Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels[key] === value)
  const rest = (selector.matchExpressions ?? []).every(({ key, operator, values }) => {
    if (operator !== 'In' && operator !== 'NotIn') throw new TypeError(`operator ${operator} is not known here`)
    return values.includes(labels[key] ?? '') === (operator === 'In')
  })
  return plain && rest
}
