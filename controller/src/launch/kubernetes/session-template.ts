import { POD_LIMITS } from '@cliscale/contract'
import { ConfigError } from '@cliscale/service-kit'
import { z } from 'zod'
import { parseQuantity } from './quantity.ts'

const MI = 2 ** 20
const DNS_LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/
const DNS_SUBDOMAIN = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/
const QUALIFIED_NAME =
  /^(?=.{1,317}$)([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/
const LABEL_VALUE = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/
// A name as the image reference grammar of the distribution project has it, then a tag, a digest, or both.
const IMAGE =
  /^[a-zA-Z0-9]([-a-zA-Z0-9._]*[a-zA-Z0-9])?(:\d{1,5})?(\/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?$/
const HAS_VERSION = /(:[\w][\w.-]{0,127}|@sha256:[0-9a-f]{64})$/
/** Of the standard resources only these can be asked for by a session; others are named `vendor.example/thing`. */
const RESOURCES = ['cpu', 'memory', 'ephemeral-storage']

const dnsLabel = () =>
  z.string().regex(DNS_LABEL, { error: 'must be lower-case letters, digits and hyphens, at most 63 (a DNS label)' })
const dnsSubdomain = () =>
  z
    .string()
    .regex(DNS_SUBDOMAIN, { error: 'must be the name of a Kubernetes object: lower-case letters, digits, - and .' })
const qualifiedName = () =>
  z
    .string()
    .regex(QUALIFIED_NAME, { error: 'must be a key such as team or example.com/team, the name at most 63 long' })
const labelValue = () =>
  z.string().regex(LABEL_VALUE, {
    error: 'must be at most 63 letters, digits, -, _ and ., and start and end with a letter or digit',
  })

const image = () =>
  z
    .string()
    .max(500, { error: 'must be at most 500 characters' })
    .regex(IMAGE, { error: 'must be an image such as registry.example.com/team/name:1.2.3' })
    .refine((text) => HAS_VERSION.test(text.slice(text.lastIndexOf('/') + 1)), {
      error: 'has no tag; name the version, as in registry.example.com/team/name:1.2.3 or …@sha256:…',
    })

const quantity = () =>
  z
    .union([z.string(), z.number()])
    .transform(String)
    .refine((text) => parseQuantity(text) !== undefined, {
      error: 'must be a quantity such as 500m (CPU), 512Mi or 10Gi, not negative',
    })

const size = (min: number, minText: string) =>
  quantity().refine((text) => (parseQuantity(text) ?? min) >= min, { error: `must be at least ${minText}` })

const resourceName = () =>
  z.string().refine((name) => RESOURCES.includes(name) || (name.includes('/') && QUALIFIED_NAME.test(name)), {
    error: `must be one of ${RESOURCES.join(', ')}, or an extended resource such as example.com/gpu`,
  })
const quantities = () =>
  z.record(resourceName(), quantity()).superRefine((amounts, context) => {
    for (const [name, text] of Object.entries(amounts)) {
      const value = parseQuantity(text)
      if (value === 0) context.addIssue({ code: 'custom', path: [name], message: 'must be more than 0' })
      // Four megabytes are too few for any process: somebody forgot the unit.
      else if (name === 'memory' && value !== undefined && value < 4 * MI)
        context.addIssue({
          code: 'custom',
          path: [name],
          message: `${text} is less than 4Mi; add the unit, as in 512Mi`,
        })
    }
  })

const resources = (defaults: { requests: Record<string, string>; limits: Record<string, string> }) =>
  z
    .strictObject({ requests: quantities().default(defaults.requests), limits: quantities().default(defaults.limits) })
    .superRefine(({ requests, limits }, context) => {
      for (const [name, request] of Object.entries(requests)) {
        const limit = limits[name]
        if (limit === undefined || (parseQuantity(request) ?? 0) <= (parseQuantity(limit) ?? 0)) continue
        const message = `${request} is more than the limit ${limit}; raise limits.${name} or lower the request`
        context.addIssue({ code: 'custom', path: ['requests', name], message })
      }
    })
    .prefault({})

const toleration = z.strictObject({
  key: qualifiedName().optional(),
  operator: z.enum(['Exists', 'Equal'], { error: 'must be Exists or Equal' }).optional(),
  value: labelValue().optional(),
  effect: z
    .enum(['NoSchedule', 'PreferNoSchedule', 'NoExecute'], {
      error: 'must be NoSchedule, PreferNoSchedule or NoExecute',
    })
    .optional(),
  tolerationSeconds: z.int({ error: 'must be a whole number' }).nonnegative().optional(),
})

const seconds = (min: number, max: number) => {
  const error = `must be a whole number of seconds from ${min} to ${max}`
  return z.int({ error }).min(min, { error }).max(max, { error })
}

/**
 * What an operator decides about the pods of sessions, as the chart renders it into `session.json`. Every field but
 * `runnerImage` has a default. Quantities keep the text they were written in.
 */
export const SessionTemplate = z.strictObject({
  /** Has both programs, `host` and `work`. */
  runnerImage: image(),
  imagePullPolicy: z
    .enum(['IfNotPresent', 'Always', 'Never'], { error: 'must be IfNotPresent, Always or Never' })
    .default('IfNotPresent'),
  imagePullSecrets: z.array(dnsSubdomain()).default([]),
  /** The images that a session may name in its request. `ttyd`: the image brings its own terminal server on 7681. */
  images: z
    .record(
      dnsLabel(),
      z.strictObject({ image: image(), kind: z.enum(['runner', 'ttyd'], { error: 'must be runner or ttyd' }) }),
    )
    .default({}),
  serviceAccountName: dnsSubdomain().default('cliscale-session'),
  runtimeClassName: dnsSubdomain().nullable().default(null),
  priorityClassName: dnsSubdomain().nullable().default(null),
  nodeSelector: z.record(qualifiedName(), labelValue()).default({}),
  tolerations: z.array(toleration).default([]),
  /** Of Job and pod. CLI Scale's own always win. */
  labels: z.record(qualifiedName(), labelValue()).default({}),
  annotations: z.record(qualifiedName(), z.string()).default({}),
  resources: z
    .strictObject({
      host: resources({ requests: { cpu: '50m', memory: '128Mi' }, limits: { cpu: '1', memory: '512Mi' } }),
      /** Also of the one container of an image of kind ttyd. */
      work: resources({ requests: { cpu: '250m', memory: '512Mi' }, limits: { cpu: '2', memory: '2Gi' } }),
    })
    .prefault({}),
  /** What the command's folders may hold together: workspace, home and /tmp. */
  workspaceSize: size(16 * MI, '16Mi').default('10Gi'),
  /** What the host may keep of the output. */
  spoolSize: size(64 * MI, '64Mi').default('1Gi'),
  /** A ConfigMap in the sessions' namespace with certificates that sessions trust beside the public ones. */
  extraCaConfigMap: z
    .strictObject({
      name: dnsSubdomain(),
      key: z
        .string()
        .regex(/^[-._a-zA-Z0-9]{1,253}$/, { error: 'must be a key of a ConfigMap' })
        .default('ca.crt'),
    })
    .nullable()
    .default(null),
  /** How long an ended Job stays that no controller clears away: they do as soon as its session has ended too. */
  ttlSecondsAfterFinished: seconds(60, 7 * 24 * 3600).default(300),
  /** What a host has to conclude and report when its pod is deleted. */
  terminationGracePeriodSeconds: seconds(POD_LIMITS.leastGraceSeconds, 3600).default(POD_LIMITS.graceSeconds),
})
export type SessionTemplate = z.infer<typeof SessionTemplate>

/**
 * Reads the text of `session.json`.
 *
 * @throws ConfigError with every fault at once, each as path, what is wrong and what to do.
 */
export function parseSessionTemplate(text: string): SessionTemplate {
  let input: unknown
  try {
    input = JSON.parse(text)
  } catch (err) {
    throw new ConfigError([`the session template is not JSON: ${(err as Error).message}`])
  }
  const result = SessionTemplate.safeParse(input, { reportInput: true })
  if (result.success) return result.data
  throw new ConfigError(result.error.issues.flatMap((issue) => sentences(issue)))
}

function sentences(issue: z.core.$ZodIssue): string[] {
  const at = (path: readonly PropertyKey[]) =>
    ['session template', path.map(String).join('.')].filter(Boolean).join(': ')
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => `${at([...issue.path, key])} is not a setting; remove it or correct its name`)
  // The sentence about a key stands inside the issue about the record.
  if (issue.code === 'invalid_key') return [`${at(issue.path)}: the name ${issue.issues[0]?.message ?? issue.message}`]
  if (issue.code === 'invalid_type')
    return [`${at(issue.path)} ${issue.input === undefined ? 'is required' : `must be ${article(issue.expected)}`}`]
  return [`${at(issue.path)} ${issue.message}`]
}

function article(expected: string): string {
  return /^[aeiou]/.test(expected) ? `an ${expected}` : `a ${expected}`
}
