import {
  commaList,
  ConfigError,
  DATABASE_ENV,
  FRONT_ENV,
  PROCESS_ENV,
  secret,
  trueOrFalse,
  wholeNumber,
} from '@cliscale/service-kit'
import { type FetchPolicy, START_LIMITS } from '@cliscale/contract'
import { z } from 'zod'
import { type ApiKey, readApiKeys } from './identity/api-keys.ts'
import type { ImageKinds } from './sessions/images.ts'
import { parseDataKey } from './sessions/data-key.ts'
import { signingKeyFaults, splitPem } from './tokens/signer.ts'

/** The settings that the controller has wherever it runs; the one-machine composition merges them into its own. */
export const CONTROLLER_ENV = {
  ...DATABASE_ENV,
  ...FRONT_ENV,
  CLISCALE_API_KEY: secret()
    .transform((text, context) => readApiKeys(text, (message) => context.issues.push(fault(message))))
    .meta({
      secret: true,
      description:
        'The API key that callers send as `Authorization: Bearer`. Separate several keys with commas. Each key has its own sessions, but keys with the same name (`name:key`) share theirs, so that a key can be replaced.',
    }),
  CLISCALE_DATA_KEY: secret()
    .transform((text, context) => {
      const key = parseDataKey(text)
      if (key === undefined) context.issues.push(fault('must be 32 bytes as base64 or as 64 hexadecimal digits'))
      return key ?? Buffer.alloc(0)
    })
    .meta({
      secret: true,
      description: 'The key that encrypts work orders while they wait: 32 bytes in base64 or hexadecimal.',
    }),
  CLISCALE_SIGNING_KEY: secret()
    .transform((text, context) => {
      const keys = splitPem(text)
      for (const message of signingKeyFaults(keys)) context.issues.push(fault(message))
      return keys
    })
    .meta({
      secret: true,
      description:
        'RSA private keys (PEM, PKCS #8 or #1) that sign tokens. The first signs; all are published, which makes rotation possible. A public key among them belongs to a retired key and is published only to session hosts. A file is read again when it changes.',
    }),
  CLISCALE_SESSIONS_PER_MINUTE: wholeNumber(1, 1_000_000)
    .default(5)
    .meta({ description: 'Sessions that one client address (IPv6: one /64) may create in a minute.' }),
  CLISCALE_MAX_ACTIVE_SESSIONS: wholeNumber(1, 1_000_000)
    .default(1000)
    .meta({ description: 'Sessions that one owner may have open at once.' }),
  CLISCALE_CODE_HOSTS: commaList().default([]).meta({
    description: 'Hosts from which code may be fetched, separated by commas. Empty allows every public host.',
  }),
  CLISCALE_FETCH_UNSAFE_HOSTS: commaList()
    .refine((hosts) => hosts.every((host) => /^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$/.test(host)), {
      error: 'must be a list of host:port',
    })
    .default([])
    .meta({ description: 'A list of host:port that need neither https nor a public address. For tests.' }),
  CLISCALE_REQUIRE_CHECKSUM: trueOrFalse()
    .default(false)
    .meta({ description: 'Whether a session with code_url must have code_checksum_sha256.' }),
  CLISCALE_RETENTION_HOURS: wholeNumber(1, 24 * 365 * 10)
    .default(24 * 7)
    .meta({ description: 'How long the record and the log of an ended session are kept.' }),
  CLISCALE_SESSION_LOG_MAX_BYTES: wholeNumber(64 * 1024, 16 * 1024 ** 3)
    .default(64 * 1024 * 1024)
    .meta({ description: 'Bytes of output kept in the database for each session.' }),
  CLISCALE_QUEUE_LIMIT_SECONDS: wholeNumber(5, START_LIMITS.longestQueueSeconds)
    .default(600)
    .meta({ description: 'Seconds that a session may wait to start before it fails with queue_deadline.' }),
} as const

/** The settings of a controller that runs as a process of its own. */
export const CONTROLLER_PROCESS_ENV = {
  ...CONTROLLER_ENV,
  CLISCALE_PORT: wholeNumber(0, 65535).default(7080).meta({ description: 'The port of the public API.' }),
  CLISCALE_INTERNAL_PORT: wholeNumber(0, 65535)
    .default(7082)
    .meta({ description: 'The port of the internal API, which must never be reachable from outside.' }),
  CLISCALE_DATA_DIR: z
    .string()
    .optional()
    .meta({ description: 'A folder for sessions as local processes. When set, sessions run on this machine.' }),
  CLISCALE_KUBERNETES_NAMESPACE: z
    .string()
    .regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, { error: 'must be the name of a namespace' })
    .optional()
    .meta({
      description:
        'The namespace for sessions. When set, sessions run as Jobs of the cluster that this pod belongs to or that KUBECONFIG names.',
    }),
  CLISCALE_INSTANCE: z
    .string()
    .regex(/^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/, { error: 'must be the value of a label' })
    .default('cliscale')
    .meta({
      description: 'The release’s name. It tells installations apart that share one namespace for sessions.',
    }),
  CLISCALE_INTERNAL_URL: z
    .string()
    .refine((text) => plainOrigin(text) !== undefined, {
      error: 'must be an http or https address without a path, such as http://cliscale-controller.ws-cli.svc:7082',
    })
    .transform((text) => plainOrigin(text) ?? text)
    .optional()
    .meta({ description: 'The address at which session pods reach the internal API. Required on Kubernetes.' }),
  CLISCALE_SESSION_TEMPLATE_FILE: z
    .string()
    .optional()
    .meta({ description: 'A JSON file with the template of session pods. Required on Kubernetes.' }),
  ...PROCESS_ENV,
} as const

const controllerEnv = z.object(CONTROLLER_ENV)
export type ControllerEnv = z.infer<typeof controllerEnv>

/** What the controller's parts read of the configuration; made by `controllerSettings`. */
export interface ControllerSettings {
  readonly publicUrl: string | undefined
  readonly trustedProxyHops: number
  readonly sessionsPerMinute: number
  readonly maxActiveSessions: number
  readonly fetchPolicy: FetchPolicy
  readonly requireChecksum: boolean
  readonly retentionHours: number
  readonly sessionLogMaxBytes: number
  readonly queueLimitSeconds: number
  readonly apiKeys: readonly ApiKey[]
  readonly dataKey: Buffer
  /** The images that a session may name; none: only the launcher's own. */
  readonly images: ImageKinds
}

/** The settings as the controller's parts take them. `localFolders` is for one machine only, `images` for a cluster. */
export function controllerSettings(
  env: ControllerEnv,
  options: { localFolders: boolean; images?: ImageKinds },
): ControllerSettings {
  return Object.freeze({
    publicUrl: env.CLISCALE_PUBLIC_URL,
    trustedProxyHops: env.CLISCALE_TRUSTED_PROXY_HOPS,
    sessionsPerMinute: env.CLISCALE_SESSIONS_PER_MINUTE,
    maxActiveSessions: env.CLISCALE_MAX_ACTIVE_SESSIONS,
    fetchPolicy: {
      codeHosts: env.CLISCALE_CODE_HOSTS.map((host) => host.toLowerCase()),
      unsafeHosts: env.CLISCALE_FETCH_UNSAFE_HOSTS.map((host) => host.toLowerCase()),
      localFolders: options.localFolders,
    },
    requireChecksum: env.CLISCALE_REQUIRE_CHECKSUM,
    retentionHours: env.CLISCALE_RETENTION_HOURS,
    sessionLogMaxBytes: env.CLISCALE_SESSION_LOG_MAX_BYTES,
    queueLimitSeconds: env.CLISCALE_QUEUE_LIMIT_SECONDS,
    apiKeys: env.CLISCALE_API_KEY,
    dataKey: env.CLISCALE_DATA_KEY,
    images: options.images ?? {},
  })
}

/** The settings of the command that replaces the signing key (tokens/rotate-cli.ts). */
export const ROTATION_ENV = {
  CLISCALE_SIGNING_KEY_SECRET: z
    .string()
    .meta({ description: 'The name of the Secret that holds the signing keys, under `signing-key.pem`.' }),
  CLISCALE_SIGNING_KEY_NAMESPACE: z.string().meta({ description: 'Its namespace.' }),
  CLISCALE_ROTATION_PUBLISH_SECONDS: wholeNumber(0, 86_400).default(840).meta({
    description:
      'Seconds between publishing the new key and signing with it: mounted files change within 2 minutes, and caches of public keys last 10.',
  }),
  CLISCALE_ROTATION_RETIRE_SECONDS: wholeNumber(0, 86_400).default(1_080).meta({
    description:
      'Seconds between signing with the new key and retiring the old one: again 2 minutes, then its last tokens expire in 5, and caches in 10.',
  }),
} as const

const processEnv = z.object(CONTROLLER_PROCESS_ENV)
export type ControllerProcessEnv = z.infer<typeof processEnv>

/** Where sessions run. */
export type Backend =
  | { readonly kind: 'machine'; readonly dataDir: string }
  | {
      readonly kind: 'cluster'
      readonly namespace: string
      readonly instance: string
      readonly internalUrl: string
      readonly templateFile: string
    }

/** @throws ConfigError unless the settings name exactly one backend, and all that belongs to it. */
export function backendOf(
  env: Pick<
    ControllerProcessEnv,
    | 'CLISCALE_DATA_DIR'
    | 'CLISCALE_KUBERNETES_NAMESPACE'
    | 'CLISCALE_INSTANCE'
    | 'CLISCALE_INTERNAL_URL'
    | 'CLISCALE_SESSION_TEMPLATE_FILE'
  >,
): Backend {
  const { CLISCALE_DATA_DIR: dataDir, CLISCALE_KUBERNETES_NAMESPACE: namespace } = env
  if ((dataDir === undefined) === (namespace === undefined))
    throw new ConfigError([
      `${dataDir === undefined ? 'one' : 'only one'} of CLISCALE_KUBERNETES_NAMESPACE (sessions run as Jobs of a cluster) and CLISCALE_DATA_DIR (sessions run as processes of this machine) must be set`,
    ])
  const companions = {
    CLISCALE_INTERNAL_URL: env.CLISCALE_INTERNAL_URL,
    CLISCALE_SESSION_TEMPLATE_FILE: env.CLISCALE_SESSION_TEMPLATE_FILE,
  }
  const faults = Object.entries(companions)
    .filter(([, value]) => (value === undefined) === (namespace !== undefined))
    .map(([name]) =>
      namespace === undefined
        ? `${name} belongs to CLISCALE_KUBERNETES_NAMESPACE, which is not set; remove it`
        : `${name} is required together with CLISCALE_KUBERNETES_NAMESPACE`,
    )
  if (faults.length > 0) throw new ConfigError(faults)
  if (namespace === undefined) return { kind: 'machine', dataDir: dataDir! }
  return {
    kind: 'cluster',
    namespace,
    instance: env.CLISCALE_INSTANCE,
    internalUrl: companions.CLISCALE_INTERNAL_URL!,
    templateFile: companions.CLISCALE_SESSION_TEMPLATE_FILE!,
  }
}

/** Scheme, host and port of an address that has nothing else; undefined when it is not one. */
function plainOrigin(text: string): string | undefined {
  if (!URL.canParse(text)) return undefined
  const url = new URL(text)
  const plain =
    url.pathname === '/' && url.search === '' && url.hash === '' && url.username === '' && url.password === ''
  return plain && /^https?:$/.test(url.protocol) ? url.origin : undefined
}

function fault(message: string): z.core.$ZodRawIssue {
  return { code: 'custom', message, input: undefined }
}
