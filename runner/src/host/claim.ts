import { readFile } from 'node:fs/promises'
import { ClaimResponse } from '@cliscale/contract'
import type { Logger } from '@cliscale/service-kit'
import { Backoff } from './backoff.ts'
import type { ControllerClient } from './controller-client.ts'

export interface ClaimOptions {
  readonly client: ControllerClient
  readonly identityTokenFile: string
  readonly nonce: string
  readonly logger: Logger
  readonly signal: AbortSignal
}

/**
 * Claims the session, for as long as the controller is away, slow or answers with a fault of its own. Undefined when
 * it refuses (401, 404, 409): then nothing may be run. The token file is read for each attempt, as it is rotated.
 */
export async function claimSession(options: ClaimOptions): Promise<ClaimResponse | undefined> {
  const { client, logger, signal } = options
  const backoff = new Backoff(100, 5000)
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
      if ([401, 404, 409].includes(answer.status)) {
        logger.info({ status: answer.status }, 'the claim was refused')
        return undefined
      }
      logger.warn({ status: answer.status }, 'the claim was not answered')
    } catch (error) {
      signal.throwIfAborted()
      logger.info({ code: (error as NodeJS.ErrnoException).code ?? (error as Error).name }, 'the claim failed')
    }
    await backoff.wait(signal)
  }
}
