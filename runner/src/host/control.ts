import { CONTROL_PING_SECONDS, ControlMessage } from '@cliscale/contract'
import { Backoff, type Logger } from '@cliscale/service-kit'
import { type ControllerClient, StatusError } from './controller-client.ts'

export interface ControlOptions {
  readonly client: ControllerClient
  readonly sessionId: string
  readonly credential: () => string
  /** The credential was refused: it may have been replaced by a claim whose answer was lost. */
  readonly renewCredential: () => Promise<boolean>
  readonly onMessage: (message: ControlMessage) => void
  readonly logger: Logger
  readonly signal: AbortSignal
  /** A stream that is silent for this long is dead. */
  readonly silenceMs?: number
}

/** Holds the control stream open until the signal aborts; a broken or silent one is opened again. Never rejects. */
export async function followControl(options: ControlOptions): Promise<void> {
  const backoff = new Backoff(100, 5000)
  while (!options.signal.aborted) {
    try {
      await readStream(options, backoff)
    } catch (error) {
      if (options.signal.aborted) return
      const status = error instanceof StatusError ? error.status : undefined
      options.logger.info({ status, code: (error as NodeJS.ErrnoException).code }, 'the control stream broke')
      if (status === 401) await options.renewCredential().catch(() => false)
    }
    await backoff.wait(options.signal).catch(() => {})
  }
}

async function readStream(options: ControlOptions, backoff: Backoff): Promise<void> {
  const lines = options.client.lines({
    method: 'GET',
    path: `/internal/sessions/${options.sessionId}/control`,
    credential: options.credential(),
    silenceMs: options.silenceMs ?? 3 * CONTROL_PING_SECONDS * 1000,
    signal: options.signal,
  })
  for await (const line of lines) {
    backoff.reset()
    const message = parse(line)
    if (message === undefined) options.logger.warn('a control message was not understood')
    else options.onMessage(message)
  }
}

/** Undefined for what a newer controller may say and we do not know. */
function parse(line: string): ControlMessage | undefined {
  try {
    return ControlMessage.safeParse(JSON.parse(line)).data
  } catch {
    return undefined
  }
}
