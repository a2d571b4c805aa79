import path from 'node:path'
import { CONTROLLER_ENV } from '@cliscale/controller'
import { databaseUrl, OBSERVED_ENV, wholeNumber } from '@cliscale/service-kit'
import { GATEWAY_ENV } from '@cliscale/ws-gateway'
import { z } from 'zod'

/** What the one server process reads: the controller's and the gateway's settings, and where it listens. */
export const SERVER_ENV = {
  ...GATEWAY_ENV,
  ...CONTROLLER_ENV,
  CLISCALE_PORT: wholeNumber(0, 65535)
    .default(7080)
    .meta({ description: 'The port on 127.0.0.1 that serves everything. 0 picks a free one.' }),
  CLISCALE_SESSIONS_PER_MINUTE: wholeNumber(1, 1_000_000)
    .default(120)
    .meta({ description: 'Sessions that one client address may create in a minute.' }),
  CLISCALE_GATEWAY_DATABASE_URL: databaseUrl().optional().meta({
    secret: true,
    description: 'The same database with the gateway’s own role. When absent, CLISCALE_DATABASE_URL is used.',
  }),
  CLISCALE_SESSION_MEMORY_MAX_BYTES: wholeNumber(16 * 1024 * 1024, 16 * 1024 ** 4)
    .optional()
    .meta({
      description:
        'Bytes of memory that one session may use, where the system can enforce a limit. No limit when absent.',
    }),
  ...OBSERVED_ENV,
} as const

/** What `cliscale up` reads: all of the server's settings, none of them needed, and where the data lies. */
export const UP_ENV = {
  ...SERVER_ENV,
  CLISCALE_DATABASE_URL: databaseUrl().optional().meta({
    secret: true,
    description: 'An existing PostgreSQL, version 14 or newer. When absent, one in the data folder is started.',
  }),
  CLISCALE_API_KEY: SERVER_ENV.CLISCALE_API_KEY.optional().meta({
    secret: true,
    description: 'The API key that callers send. When absent, one is generated and kept in the data folder.',
  }),
  CLISCALE_DATA_KEY: SERVER_ENV.CLISCALE_DATA_KEY.optional().meta({
    secret: true,
    description:
      'The key that encrypts work orders while they wait. When absent, one is generated and kept in the data folder.',
  }),
  CLISCALE_SIGNING_KEY: SERVER_ENV.CLISCALE_SIGNING_KEY.optional().meta({
    secret: true,
    description: 'RSA private keys (PEM) that sign tokens. When absent, one is generated and kept in the data folder.',
  }),
  CLISCALE_DATA_DIR: z
    .string()
    .refine((dir) => path.isAbsolute(dir), { error: 'must be an absolute path' })
    .optional()
    .meta({
      description:
        'The data folder. When absent, /var/lib/cliscale for root, and a folder in the user’s data directory for everybody else.',
    }),
} as const

export const serverSchema = z.object(SERVER_ENV)
export const upSchema = z
  .object(UP_ENV)
  .refine(({ CLISCALE_PORT: port, CLISCALE_METRICS_PORT: metrics }) => port === 0 || port !== metrics, {
    path: ['CLISCALE_METRICS_PORT'],
    error: 'must be a different port from CLISCALE_PORT',
  })
export type ServerSettings = z.infer<typeof serverSchema>
export type UpSettings = z.infer<typeof upSchema>

/** The `CLISCALE_*` names of an environment that have a value, as they are, without what belongs to `cliscale up` alone. */
export function serverEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter(
      (entry): entry is [string, string] =>
        entry[0].startsWith('CLISCALE_') &&
        entry[0] !== 'CLISCALE_DATA_DIR' &&
        entry[1] !== undefined &&
        entry[1] !== '',
    ),
  )
}

/** Whether a secret is given, by its name or by a file. */
export function isGiven(env: NodeJS.ProcessEnv, name: string): boolean {
  return Boolean(env[name]) || Boolean(env[`${name}_FILE`])
}
