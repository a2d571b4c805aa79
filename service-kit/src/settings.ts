/** Settings that more than one service has: each is defined here, once. */
import { z } from 'zod'
import { secret, wholeNumber } from './config.ts'
import { publicBase } from './front.ts'

/** The address of a PostgreSQL, with its password. */
export function databaseUrl() {
  return secret().refine((url) => /^postgres(ql)?:\/\//.test(url), {
    error: 'must start with postgres:// or postgresql://',
  })
}

/** Of a service that stands behind an address for people. */
export const FRONT_ENV = {
  CLISCALE_PUBLIC_URL: z
    .string()
    .transform((text, context) => {
      const base = publicBase(text)
      if (base !== undefined) return base
      const message = 'must be an http or https address such as https://cliscale.example.com'
      context.issues.push({ code: 'custom', message, input: undefined })
      return z.NEVER
    })
    .optional()
    .meta({
      description:
        'The public address used in links, with the path under which a proxy serves CLI Scale, if any. When absent, links use the scheme and Host of the request.',
    }),
  CLISCALE_TRUSTED_PROXY_HOPS: wholeNumber(0, 10).default(0).meta({
    description: 'Number of trusted proxies in front of the server: that many entries of X-Forwarded-For are trusted.',
  }),
} as const

/** Of a service that uses the database. */
export const DATABASE_ENV = {
  CLISCALE_DATABASE_URL: databaseUrl().meta({
    secret: true,
    description: 'PostgreSQL 14 or newer, as `postgres://user:password@host/database`.',
  }),
  CLISCALE_DATABASE_POOL_SIZE: wholeNumber(2, 200)
    .default(10)
    .meta({ description: 'Connections to PostgreSQL that one process may hold.' }),
} as const

/** Of every process, for what its operator watches. */
export const OBSERVED_ENV = {
  CLISCALE_METRICS_PORT: wholeNumber(0, 65_535)
    .optional()
    .meta({ description: 'The port that serves /metrics for Prometheus and nothing else. No metrics when absent.' }),
  CLISCALE_LOG_LEVEL: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal'], {
      error: 'must be one of trace, debug, info, warn, error, fatal',
    })
    .default('info')
    .meta({ description: 'The lowest severity that is logged.' }),
} as const

/** Of a service that is a process of its own. */
export const PROCESS_ENV = {
  CLISCALE_LISTEN_ADDRESS: z
    .string()
    .default('127.0.0.1')
    .meta({ description: 'The address that every port listens on.' }),
  CLISCALE_DRAIN_SECONDS: wholeNumber(1, 3600)
    .default(25)
    .meta({ description: 'Seconds for an orderly shutdown; keep it below the pod’s grace period.' }),
  ...OBSERVED_ENV,
} as const
