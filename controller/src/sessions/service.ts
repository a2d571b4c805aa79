import { randomUUID } from 'node:crypto'
import {
  AppError,
  type CreateSessionResponse,
  SESSION_ID_PATTERN,
  type SessionList,
  type SessionView,
  type TokenResponse,
} from '@cliscale/contract'
import type pg from 'pg'
import type { ControllerSettings } from '../config.ts'
import { withTransaction } from '../db/database.ts'
import { type MintedToken, mintToken } from '../tokens/mint.ts'
import type { Signer } from '../tokens/signer.ts'
import { insertToken } from '../tokens/store.ts'
import { createFolderCheck, type FolderCheck } from './code-folder.ts'
import { countCreation } from './creation-limit.ts'
import { decodeCursor, encodeCursor } from './cursor.ts'
import { fingerprint } from './data-key.ts'
import { terminalLinks } from './links.ts'
import { sealOrder } from './order-box.ts'
import { type NewSession, parseNewSession, parseNewToken, refuseReadOnly } from './request.ts'
import { SingleFlight } from './single-flight.ts'
import { findKeyHolder, type KeyHolder, takeKey } from './idempotency.ts'
import { requestStop } from './lifecycle.ts'
import { findOutput } from './output.ts'
import * as store from './store.ts'

export interface SessionsDeps {
  readonly pool: pg.Pool
  readonly signer: Signer
  readonly settings: ControllerSettings
  /** Called after a commit that the reconciler should act on. */
  readonly wake: () => void
  readonly now: () => Date
}

/** Who asks, from where, and by which address of ours. */
export interface Caller {
  readonly owner: string
  readonly address: string
  readonly origin: string
}

interface Created {
  readonly response: CreateSessionResponse
  /** Whether an earlier request with the same key had created the session. */
  readonly isReplay: boolean
}

export interface Sessions {
  create(caller: Caller, body: unknown, idempotencyKey: string | undefined): Promise<Created>
  get(owner: string, id: string): Promise<SessionView>
  list(owner: string, options: { readonly cursor: string | undefined; readonly limit: number }): Promise<SessionList>
  stop(owner: string, id: string): Promise<SessionView>
  createToken(caller: Caller, id: string, body: unknown): Promise<TokenResponse>
  /** The output so far, in order. Holds no connection while the caller is slow. */
  output(owner: string, id: string): Promise<AsyncIterable<Buffer>>
}

/** What can be done with sessions, for an owner who is known. Somebody else's session is `session_not_found`. */
export function createSessions(deps: SessionsDeps): Sessions {
  const flights = new SingleFlight()
  const requireFolder = createFolderCheck()
  return {
    create: async (caller, body, key) => {
      const session = parseNewSession(body, deps.settings)
      const work = () => createOrReplay({ ...deps, requireFolder }, caller, session, key)
      return key === undefined ? work() : flights.run(`${caller.owner} ${key}`, work)
    },
    get: (owner, id) => find(deps, owner, id),
    list: async (owner, { cursor, limit }) => {
      const after = cursor === undefined ? undefined : decodeCursor(cursor)
      const { sessions, next } = await store.listSessions(deps.pool, owner, { after, limit })
      return { sessions, nextCursor: next === undefined ? null : encodeCursor(next) }
    },
    stop: async (owner, id) => {
      if (isId(id)) await requestStop(deps.pool, owner, id)
      const session = await find(deps, owner, id)
      deps.wake()
      return session
    },
    createToken: async (caller, id, body) => {
      const asked = parseNewToken(body)
      const kind = isId(id) ? await store.findKind(deps.pool, caller.owner, id) : undefined
      if (kind === undefined) throw notFound()
      refuseReadOnly(asked, kind)
      return (await mintFor(deps, caller, id, asked.mode)).response
    },
    output: async (owner, id) => {
      await find(deps, owner, id)
      return readOutput(deps.pool, id)
    },
  }
}

/** One answer for an id that is unknown, malformed or somebody else's. */
function notFound(): AppError {
  return new AppError('session_not_found', {
    detail: 'There is no session with this id among yours. Ended sessions are removed after a while.',
  })
}

function isId(id: string): boolean {
  return SESSION_ID_PATTERN.test(id)
}

async function find(deps: SessionsDeps, owner: string, id: string): Promise<SessionView> {
  const session = isId(id) ? await store.findSession(deps.pool, owner, id) : undefined
  if (session === undefined) throw notFound()
  return session
}

interface CreateDeps extends SessionsDeps {
  readonly requireFolder: FolderCheck
}

async function createOrReplay(
  deps: CreateDeps,
  caller: Caller,
  session: NewSession,
  key: string | undefined,
): Promise<Created> {
  if (key === undefined) return (await insert(deps, caller, session, undefined))!
  const bodyHmac = fingerprint(deps.settings.dataKey, session.request)
  // The second round is for a key whose holder was rolled back or pruned between two looks at it.
  for (let round = 0; round < 3; round += 1) {
    const holder = await findKeyHolder(deps.pool, caller.owner, key)
    if (holder !== undefined) return replay(deps, caller, holder, bodyHmac)
    const created = await insert(deps, caller, session, { key, bodyHmac })
    if (created !== undefined) return created
  }
  throw new AppError('store_unavailable', {
    detail: 'Too many concurrent requests use this Idempotency-Key. Try again.',
  })
}

async function replay(deps: SessionsDeps, caller: Caller, holder: KeyHolder, bodyHmac: Buffer): Promise<Created> {
  if (!holder.bodyHmac.equals(bodyHmac))
    throw new AppError('idempotency_key_reused', {
      detail: 'This Idempotency-Key was used in the last 24 hours with another body. Use a new key for a new request.',
    })
  const { response } = await mintFor(deps, caller, holder.sessionId, 'rw')
  const { status } = await find(deps, caller.owner, holder.sessionId)
  return { response: { sessionId: holder.sessionId, ...response, status }, isReplay: true }
}

/** Writes all of a session in one transaction; undefined when somebody else has taken the key. */
async function insert(
  deps: CreateDeps,
  caller: Caller,
  session: NewSession,
  idempotency: { readonly key: string; readonly bodyHmac: Buffer } | undefined,
): Promise<Created | undefined> {
  const { pool, settings } = deps
  const { owner } = caller
  const { order, kind, image, shownCodeUrl, codeFolder, timeoutSeconds } = session
  if (codeFolder !== null) await deps.requireFolder(codeFolder)
  const [id, createdAt] = [randomUUID(), deps.now()]
  // Signed and sealed before a connection is taken: it is held for statements only.
  const token = await mintToken(deps.signer, { owner, sessionId: id, mode: 'rw', now: createdAt })
  const ciphertext = order && sealOrder(settings.dataKey, id, order)
  const isCreated = await withTransaction(pool, async (trx) => {
    // In the same order everywhere, so that no two transactions wait for one another: key, address, owner.
    if (idempotency !== undefined) {
      const holder = { sessionId: id, bodyHmac: idempotency.bodyHmac }
      if (!(await takeKey(trx, owner, idempotency.key, holder))) return false
    }
    await countCreation(trx, caller.address, settings.sessionsPerMinute)
    refuseOverQuota(await store.countOpenSessions(trx, owner), settings.maxActiveSessions)
    await store.insertSession(trx, { id, owner, kind, image, shownCodeUrl, timeoutSeconds, createdAt, ciphertext })
    await insertToken(trx, token.row)
    return true
  })
  if (!isCreated) return undefined
  deps.wake()
  return { response: { sessionId: id, ...tokenResponse(caller, token), status: 'queued' }, isReplay: false }
}

function refuseOverQuota(current: number, limit: number): void {
  if (current < limit) return
  throw new AppError('quota_exceeded', {
    detail: `You have ${current} open sessions and may have ${limit}. Stop one (DELETE /api/sessions/{id}) or wait for one to end.`,
    headers: { 'Retry-After': '10' },
  })
}

async function mintFor(
  deps: SessionsDeps,
  caller: Caller,
  sessionId: string,
  mode: 'rw' | 'ro',
): Promise<{ response: TokenResponse }> {
  const token = await mintToken(deps.signer, { owner: caller.owner, sessionId, mode, now: deps.now() })
  await insertToken(deps.pool, token.row)
  return { response: tokenResponse(caller, token) }
}

function tokenResponse(caller: Caller, { jwt, expiresAt, row }: MintedToken): TokenResponse {
  const links = terminalLinks(caller.origin, row.sessionId, jwt)
  return { sessionJWT: jwt, ...links, tokenExpiresAt: expiresAt.toISOString() }
}

/** Chunks that are read from the database at once: at most 64 KiB each. */
const OUTPUT_PAGE = 16

async function* readOutput(pool: pg.Pool, id: string): AsyncGenerator<Buffer> {
  let behind = '-1'
  for (;;) {
    const chunks = await findOutput(pool, id, { behind, limit: OUTPUT_PAGE })
    for (const chunk of chunks) yield chunk.data
    const last = chunks.at(-1)
    if (last === undefined || chunks.length < OUTPUT_PAGE) return
    behind = last.offset
  }
}
