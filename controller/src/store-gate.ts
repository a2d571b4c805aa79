import type { RequestListener } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '@cliscale/contract'
import { answerProblem, ConfigError, isStoreUnavailable, type Logger } from '@cliscale/service-kit'
import type pg from 'pg'
import { findSchemaFault } from './db/schema-version.ts'

/** What is answered without a database: liveness, which a restart would not mend, and what is known by heart. */
const WITHOUT_STORE = ['/healthz', '/.well-known/jwks.json', '/internal/jwks.json', '/openapi.json']

export interface StoreGate {
  /** A listener that refuses with 503 what needs the database until that can be used. */
  guard(listener: RequestListener): RequestListener
  /** Resolves with true when it can be used; with false when it was closed before. */
  opened(): Promise<boolean>
  close(): void
}

export interface StoreGateOptions {
  readonly pool: pg.Pool
  readonly logger: Logger
  readonly everyMs?: number
  /** Whether the database is known to be there: then nothing is waited for. */
  readonly isChecked: boolean
}

/**
 * Waits until the database answers and its schema is one that this release works with, for as long as it takes: a pod
 * that is alive and not ready says what it waits for, one that is started again and again does not. `opened` rejects with a
 * ConfigError when the database refuses the login for good.
 */
export function createStoreGate({ pool, logger, isChecked, everyMs = 1_000 }: StoreGateOptions): StoreGate {
  const abort = new AbortController()
  let waitsFor: string | undefined = isChecked ? undefined : 'the database has not been checked yet'
  const wait = async (): Promise<boolean> => {
    let told: string | undefined
    while (!abort.signal.aborted) {
      waitsFor = await findFault(pool)
      if (waitsFor === undefined) return true
      if (waitsFor !== told) logger.warn({ waitsFor }, 'waiting for the database')
      told = waitsFor
      await sleep(everyMs, undefined, { signal: abort.signal }).catch(() => undefined)
    }
    return false
  }
  const opened = isChecked ? Promise.resolve(true) : wait()
  // Whoever asks hears of it; until then it must not end the process.
  opened.catch(() => undefined)
  return {
    guard: (listener) => (req, res) => {
      const path = (req.url ?? '').split('?', 1)[0]!
      if (waitsFor === undefined || WITHOUT_STORE.includes(path)) return listener(req, res)
      const detail = `The server is starting: ${waitsFor}.`
      answerProblem(req, res, new AppError('store_unavailable', { detail, headers: { 'Retry-After': '2' } }))
    },
    opened: () => opened,
    close: () => abort.abort(),
  }
}

/**
 * Why a database cannot be used now, as a sentence.
 *
 * @throws ConfigError when it never will be, with these settings. Never the message of a failed connection: it may repeat
 *   parts of the URL.
 */
async function findFault(pool: pg.Pool): Promise<string | undefined> {
  try {
    return await findSchemaFault(pool)
  } catch (error) {
    const code = (error as { code?: string }).code ?? 'no answer'
    // 28: the login is refused. 3D000: there is no such database.
    if (/^(28...|3D000)$/.test(code))
      throw new ConfigError([`the database of CLISCALE_DATABASE_URL refuses the login or does not exist (${code})`])
    if (!isStoreUnavailable(error) && !/^[0-9A-Z]{5}$/.test(code) && code !== 'no answer') throw error
    return `the database of CLISCALE_DATABASE_URL cannot be used (${code})`
  }
}
