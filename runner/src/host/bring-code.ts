import type { ClaimResponse, Stage, WorkOrder } from '@cliscale/contract'
import type { Logger } from '@cliscale/service-kit'
import { doneLine, failedLine, type LineStage, noteLine } from '../relay/stage-lines.ts'
import { isSessionFailure } from './failure.ts'
import { type EndedEvent, endStopped, endWithout } from './outcome.ts'
import type { StopRequest } from './stop-request.ts'
import type { SessionTerminal } from './terminal-types.ts'
import type { Timeline } from './timeline.ts'

/** Fetches, verifies and unpacks code; throws SessionFailure, or what `signal` was aborted with. */
export type FetchCode = (options: {
  readonly url: string
  readonly checksumSha256: string | null
  readonly policy: ClaimResponse['fetchPolicy']
  readonly targetDir: string
  readonly signal: AbortSignal
  readonly onStage: (stage: Stage) => void
}) => Promise<{ notes: readonly string[] }>

export interface BringCodeOptions {
  readonly claim: ClaimResponse
  readonly terminal: SessionTerminal
  readonly timeline: Timeline
  readonly workspaceDir: string
  readonly fetchCode: FetchCode
  readonly stop: StopRequest
  readonly onOutput: () => void
  readonly logger: Logger
  /** Rejects with its reason when it aborts: the host ends, the session does not. */
  readonly signal: AbortSignal
}

/**
 * Puts the order's code into the workspace, with a line in the terminal for each stage that is done and one for what
 * went wrong. Resolves to the session's end when it cannot go on.
 */
export async function bringCode(options: BringCodeOptions, order: WorkOrder): Promise<EndedEvent | undefined> {
  const { claim, terminal, stop, signal, logger } = options
  try {
    stop.signal.throwIfAborted()
    if (order.codeUrl !== null) await fetchInStages(options, order.codeUrl, order.checksumSha256)
    return undefined
  } catch (error) {
    if (stop.cause !== undefined) return endStopped(stop.cause, claim.timeoutSeconds)
    signal.throwIfAborted()
    const known = isSessionFailure(error)
    if (!known) logger.error({ err: error }, 'the code could not be fetched')
    const detail = known ? error.detail : 'The code could not be fetched because of a fault in CLI Scale. Try again.'
    terminal.appendHost(failedLine(detail))
    return endWithout('failed', known ? error.reason : 'internal', detail)
  }
}

async function fetchInStages(options: BringCodeOptions, url: string, checksumSha256: string | null): Promise<void> {
  const { claim, terminal, timeline, stop, onOutput, signal } = options
  let current: { name: LineStage; sinceMs: number } | undefined
  const finish = (): void => {
    if (current !== undefined) terminal.appendHost(doneLine(current.name, Date.now() - current.sinceMs))
    onOutput()
  }
  const { notes } = await options.fetchCode({
    url,
    checksumSha256,
    policy: claim.fetchPolicy,
    targetDir: options.workspaceDir,
    signal: AbortSignal.any([stop.signal, signal]),
    onStage: (name) => {
      if (name !== 'fetching_code' && name !== 'verifying') return
      finish()
      current = { name, sinceMs: Date.now() }
      timeline.stage(name)
    },
  })
  finish()
  for (const note of notes) terminal.appendHost(noteLine(note))
}
