import { commaList, DATABASE_ENV, FRONT_ENV, PROCESS_ENV, wholeNumber } from '@cliscale/service-kit'
import { z } from 'zod'
import { createPodNetworks } from './attach/pod-networks.ts'
import type { GatewayDeps } from './gateway.ts'

/** The settings that the gateway has wherever it runs; the one-machine composition merges them into its own. */
export const GATEWAY_ENV = {
  ...FRONT_ENV,
  CLISCALE_VIEWER_TTL_SECONDS: wholeNumber(60, 365 * 24 * 3600)
    .default(7 * 24 * 3600)
    .meta({ description: 'How long a browser that has used its link may reconnect.' }),
  CLISCALE_FRAME_ANCESTORS: commaList()
    .refine((origins) => origins.every(isOrigin), {
      error: 'must be a list of origins such as https://portal.example.com',
    })
    .default([])
    .meta({
      description:
        'Origins whose pages may show terminals in a frame. They must be same-site with this server, because cookies are SameSite=Strict. Empty: none.',
    }),
  CLISCALE_MAX_PENDING_UPGRADES: wholeNumber(1, 1_000_000)
    .default(8192)
    .meta({ description: 'WebSocket upgrades that may be in progress at once; further ones get a 503.' }),
  CLISCALE_MAX_PENDING_UPGRADES_PER_ADDRESS: wholeNumber(1, 1_000_000)
    .default(4096)
    .meta({ description: 'The same limit for each client address, which many people may share.' }),
} as const

/** The settings of a gateway that runs as a process of its own. */
export const GATEWAY_PROCESS_ENV = {
  ...GATEWAY_ENV,
  ...DATABASE_ENV,
  CLISCALE_POD_NETWORKS: commaList()
    .refine(areNetworks, { error: 'must be a list of networks such as 10.0.0.0/8' })
    .default([])
    .meta({
      description:
        'Networks in which session pods may have addresses. Empty allows every address except loopback, link-local and multicast.',
    }),
  CLISCALE_JWKS_URL: z
    .url({ protocol: /^https?$/, error: 'must be an http or https address' })
    .meta({ description: 'Where the controller publishes its public keys: …/.well-known/jwks.json.' }),
  CLISCALE_PORT: wholeNumber(0, 65535).default(7081).meta({ description: 'The port of pages and WebSockets.' }),
  ...PROCESS_ENV,
  CLISCALE_LAME_DUCK_SECONDS: wholeNumber(0, 3600).default(5).meta({
    description:
      'Seconds at the start of CLISCALE_DRAIN_SECONDS in which terminals and requests are still served, while load balancers notice the shutdown.',
  }),
} as const

export const gatewayProcessSchema = z.object(GATEWAY_PROCESS_ENV)

/** What terminals, requests and connections need to end in order, in seconds, with some to spare. */
const ENDING_SECONDS = 5

/** Whether two settings contradict each other; one sentence when they do. */
export function drainFault(env: z.infer<typeof gatewayProcessSchema>): string | undefined {
  if (env.CLISCALE_LAME_DUCK_SECONDS + ENDING_SECONDS <= env.CLISCALE_DRAIN_SECONDS) return undefined
  return `CLISCALE_LAME_DUCK_SECONDS must be at least ${ENDING_SECONDS} less than CLISCALE_DRAIN_SECONDS (${env.CLISCALE_DRAIN_SECONDS})`
}

const gatewayEnv = z.object(GATEWAY_ENV)
export type GatewayEnv = z.infer<typeof gatewayEnv>

/** The settings as `createGateway` takes them. */
export function gatewaySettings(
  env: GatewayEnv,
): Pick<
  GatewayDeps,
  | 'publicUrl'
  | 'trustedProxyHops'
  | 'viewerTtlSeconds'
  | 'frameAncestors'
  | 'maxPendingUpgrades'
  | 'maxPendingUpgradesPerAddress'
> {
  return {
    publicUrl: env.CLISCALE_PUBLIC_URL,
    trustedProxyHops: env.CLISCALE_TRUSTED_PROXY_HOPS,
    viewerTtlSeconds: env.CLISCALE_VIEWER_TTL_SECONDS,
    frameAncestors: env.CLISCALE_FRAME_ANCESTORS,
    maxPendingUpgrades: env.CLISCALE_MAX_PENDING_UPGRADES,
    maxPendingUpgradesPerAddress: env.CLISCALE_MAX_PENDING_UPGRADES_PER_ADDRESS,
  }
}

function isOrigin(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol) && new URL(text).origin === text
}

function areNetworks(cidrs: readonly string[]): boolean {
  try {
    createPodNetworks(cidrs)
    return true
  } catch {
    return false
  }
}
