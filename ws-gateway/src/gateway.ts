import type { ErrorCode } from '@cliscale/contract'
import { createFront, type Logger } from '@cliscale/service-kit'
import type { Metrics } from '@cliscale/service-kit/metrics'
import type { Express } from 'express'
import type { JWTVerifyGetKey } from 'jose'
import type { Pool } from 'pg'
import { type AttachLimits, Attachment, type AttachState } from './attach/attachment.ts'
import { createPodNetworks } from './attach/pod-networks.ts'
import { SessionHub } from './attach/session-hub.ts'
import { createApp } from './http/app.ts'
import { createGatewayMetrics, type GatewayStats, NO_METRICS } from './metrics.ts'
import { createStore } from './store.ts'
import { createTokenVerifier } from './tokens/verifier.ts'
import { createUpgradeHandler, type UpgradeHandler } from './upgrade/handler.ts'
import { createPendingUpgrades } from './upgrade/pending.ts'

export interface GatewayDeps {
  /** Of its own: terminals must open when the API is busy. Stays the caller's; end it after `close()`. At least 2 connections. */
  readonly pool: Pool
  /** Finds the controller's public keys, such as jose's createRemoteJWKSet. */
  readonly keys: JWTVerifyGetKey
  readonly logger: Logger
  /** Folder with terminal.html, landing.html and assets/. */
  readonly publicDir: string
  /** Where browsers reach us; undefined: scheme and Host of the request. */
  readonly publicUrl?: string | undefined
  readonly trustedProxyHops: number
  /** Networks that pods may have addresses in; see createPodNetworks. One machine: `['127.0.0.0/8']`. */
  readonly podNetworks: readonly string[]
  readonly viewerTtlSeconds: number
  /** Origins whose pages may show ours in a frame; none by default. */
  readonly frameAncestors?: readonly string[]
  readonly maxPendingUpgrades: number
  readonly maxPendingUpgradesPerAddress: number
  readonly limits?: Partial<GatewayLimits>
  /** Where the gateway counts what it does; undefined: nowhere. */
  readonly metrics?: Metrics
  readonly now?: () => number
}

/** Times in milliseconds. */
export interface GatewayLimits extends AttachLimits {
  /** From an upgrade request to its 101. */
  readonly upgradeMs: number
  /** Between two looks at the sessions that sockets wait for. */
  readonly pollMs: number
  /** Of a client, until its pod is there. */
  readonly holdBytes: number
  /** For terminals to end in order when the gateway drains. */
  readonly drainMs: number
}

export const DEFAULT_LIMITS: GatewayLimits = {
  upgradeMs: 10_000,
  pollMs: 2_000,
  holdBytes: 64 * 1024,
  drainMs: 2_000,
  statusMs: 5_000,
  dialMs: 5_000,
  helloMs: 2_000,
  lingerMs: 10_000,
  stallMs: 60_000,
}

export interface Gateway {
  /** Answers HTTP at / and under /ws; everything else is a 404. */
  readonly app: Express
  /** For the `upgrade` event of an HTTP server. */
  readonly handleUpgrade: UpgradeHandler
  /** Whether the gateway is on its way out: readiness says so, and connections are not kept. */
  readonly isLeaving: boolean
  /** Begins to leave: what is open goes on, and viewers may still come back; one-time tokens are kept for another gateway. */
  beginDrain(): void
  /** Refuses new terminals and ends the open ones in order; resolves when none is left. Readiness is the caller's. */
  drain(): Promise<void>
  /** Destroys what is left and stops listening to the database. */
  close(): Promise<void>
  stats(): GatewayStats
}

/** Builds a gateway. It listens nowhere and starts nothing until a terminal is opened. */
export function createGateway(deps: GatewayDeps): Gateway {
  const { logger, pool } = deps
  const limits = { ...DEFAULT_LIMITS, ...deps.limits }
  const now = deps.now ?? Date.now
  const store = createStore(pool)
  const verifier = createTokenVerifier({ keys: deps.keys, now })
  const front = createFront(deps)
  const hub = new SessionHub({ pool, store, logger, pollMs: limits.pollMs })
  const pending = createPendingUpgrades({
    total: deps.maxPendingUpgrades,
    perAddress: deps.maxPendingUpgradesPerAddress,
  })
  const terminals = new Terminals(limits.drainMs)
  const podNetworks = createPodNetworks(deps.podNetworks)
  let isLeaving = false
  const refused: Partial<Record<ErrorCode, number>> = {}
  const stats = (): GatewayStats => ({
    pending: pending.count,
    open: terminals.countByState(),
    accepted: terminals.accepted,
    refused: { ...refused },
    ...terminals.countBytes(),
  })
  const metrics = deps.metrics === undefined ? NO_METRICS : createGatewayMetrics(deps.metrics, stats)
  const attachDeps = { store, hub, podNetworks, logger, limits, now, metrics }
  const handleUpgrade = createUpgradeHandler({
    store,
    verifier,
    front,
    pending,
    logger,
    deadlineMs: limits.upgradeMs,
    holdBytes: limits.holdBytes,
    serving: () => (terminals.isDraining ? 'none' : isLeaving ? 'returning' : 'all'),
    attach: (client, grant, protocol) => terminals.add(new Attachment(attachDeps, { client, grant, protocol })),
    onRefused: (code) => (refused[code] = (refused[code] ?? 0) + 1),
  })
  return {
    app: createApp({ ...deps, store, verifier, front }),
    handleUpgrade,
    get isLeaving() {
      return isLeaving
    },
    beginDrain: () => void (isLeaving = true),
    drain: () => {
      isLeaving = true
      return terminals.drain()
    },
    close: async () => {
      terminals.destroyAll()
      await hub[Symbol.asyncDispose]()
    },
    stats,
  }
}

/** The terminals that are open. An HTTP server forgets a socket that it has handed out, so somebody must keep them. */
class Terminals {
  readonly #drainMs: number
  readonly #open = new Set<Attachment>()
  #whenEmpty: (() => void) | undefined
  readonly #closedBytes = { bytesIn: 0, bytesOut: 0 }
  isDraining = false
  accepted = 0

  constructor(drainMs: number) {
    this.#drainMs = drainMs
  }

  add(attachment: Attachment): void {
    this.accepted += 1
    this.#open.add(attachment)
    void attachment.run().then(() => {
      this.#open.delete(attachment)
      addBytes(this.#closedBytes, attachment)
      if (this.#open.size === 0) this.#whenEmpty?.()
    })
  }

  async drain(): Promise<void> {
    this.isDraining = true
    for (const attachment of this.#open) attachment.drain()
    if (this.#open.size === 0) return
    const timer = setTimeout(() => this.destroyAll(), this.#drainMs)
    await new Promise<void>((resolve) => (this.#whenEmpty = resolve))
    clearTimeout(timer)
  }

  destroyAll(): void {
    this.isDraining = true
    for (const attachment of this.#open) attachment.destroy()
  }

  countByState(): Record<AttachState, number> {
    const counts = { waiting: 0, dialling: 0, spliced: 0, replaying: 0, closing: 0, closed: 0 }
    for (const { state } of this.#open) counts[state] += 1
    return counts
  }

  countBytes(): Bytes {
    const bytes = { ...this.#closedBytes }
    for (const attachment of this.#open) addBytes(bytes, attachment)
    return bytes
  }
}

type Bytes = Pick<GatewayStats, 'bytesIn' | 'bytesOut'>

function addBytes(sum: { -readonly [K in keyof Bytes]: number }, { bytesIn, bytesOut }: Bytes): void {
  sum.bytesIn += bytesIn
  sum.bytesOut += bytesOut
}
