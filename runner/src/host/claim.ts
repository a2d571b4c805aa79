import { readFile } from 'node:fs/promises'
import { ClaimResponse } from '@cliscale/contract'
import { Backoff, type Logger } from '@cliscale/service-kit'
import type { ControllerClient } from './controller-client.ts'
import type { Credential } from './credential.ts'

export interface ClaimOptions {
  readonly client: ControllerClient
  readonly identityTokenFile: string
  readonly nonce: string
  readonly logger: Logger
  readonly signal: AbortSignal
  /** Whether to ask again while another launch holds the session (409). */
  readonly waitsForOther: () => boolean
}

/**
 * Claims the session, for as long as the controller is away, slow or answers with a fault of its own. Undefined when
 * it refuses (401, 404): then nothing may be run. The token file is read for each attempt, as it is rotated.
 *
 * While another launch holds the session (409) it waits: if this one ended, Kubernetes could take its end for that of
 * the Job and delete the one that runs. It is deleted itself, or gets 404 once the session has ended.
 */
export async function claimSession(options: ClaimOptions): Promise<ClaimResponse | undefined> {
  const { client, logger, signal } = options
  const backoff = new Backoff(100, 5000)
  let toldOfOther = false
  for (;;) {
    try {
      const credential = (await readFile(options.identityTokenFile, 'utf8')).trim()
      const answer = await client.call({
        method: 'POST',
        path: '/internal/claim',
        credential,
        json: { nonce: options.nonce },
        signal,
      })
      if (answer.status === 200) return ClaimResponse.parse(JSON.parse(answer.text))
      const { status } = answer
      if (status === 401 || status === 404 || (status === 409 && !options.waitsForOther())) {
        logger.info({ status }, 'the claim was refused')
        return undefined
      }
      if (status !== 409) logger.warn({ status }, 'the claim failed')
      else if (!toldOfOther) logger.info('another launch holds the session')
      toldOfOther ||= status === 409
    } catch (error) {
      signal.throwIfAborted()
      logger.info({ code: (error as NodeJS.ErrnoException).code ?? (error as Error).name }, 'the claim failed')
    }
    await backoff.wait(signal)
  }
}

/**
 * Confirms that the command is about to run; after that it is never run again. False when the controller refuses it
 * for good: the session has ended (404, 409, 410), or is another's by now (401, also with a fresh credential).
 */
export async function confirmStarted(options: {
  readonly client: ControllerClient
  readonly credential: Credential
  readonly logger: Logger
  readonly signal: AbortSignal
}): Promise<boolean> {
  const { client, credential, logger, signal } = options
  const backoff = new Backoff(100, 5000)
  for (;;) {
    try {
      const call = { method: 'POST', path: '/internal/started', credential: credential.current, signal } as const
      const { status } = await client.call(call)
      if (status >= 200 && status < 300) return true
      logger.warn({ status }, 'started was not confirmed')
      if ([404, 409, 410].includes(status)) return false
      if (status === 401 && !(await credential.renew())) return false
    } catch (error) {
      signal.throwIfAborted()
      logger.info({ code: (error as NodeJS.ErrnoException).code ?? (error as Error).name }, 'started failed')
    }
    await backoff.wait(signal)
  }
}
