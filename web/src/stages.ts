import { isFinal, type Stage } from '@cliscale/contract/session'
import type { StatusMessage } from '@cliscale/contract/terminal'

/** What the page calls a stage that is in progress. */
export const STAGE_WORDS: Readonly<Record<Stage, string>> = {
  queued: 'waiting in the queue',
  scheduling: 'scheduling',
  pulling_image: 'pulling image',
  fetching_code: 'fetching code',
  verifying: 'verifying',
  installing: 'installing',
  running: 'running',
}

/** A stage as this page saw it; times in ms since 1970 by this page's clock; in progress while `endedAt` is undefined. */
export interface SeenStage {
  readonly name: Stage
  readonly startedAt: number
  readonly endedAt: number | undefined
}

/** The stage of a status; for a server that names none, the status itself. */
export function stageOf(status: StatusMessage): Stage | undefined {
  if (status.stage !== null) return status.stage
  if (status.status === 'queued' || status.status === 'scheduling' || status.status === 'running') return status.status
  return undefined
}

/** Adds a status to the stages seen so far. A repeated status changes nothing; a new stage ends the one before. */
export function addStatus(seen: readonly SeenStage[], status: StatusMessage, clockOffsetMs: number): SeenStage[] {
  const since = Date.parse(status.since)
  const at = (Number.isFinite(since) ? since : Date.now() + clockOffsetMs) - clockOffsetMs
  const end = (stage: SeenStage): SeenStage => ({ ...stage, endedAt: stage.endedAt ?? Math.max(at, stage.startedAt) })
  if (isFinal(status.status)) return seen.map(end)
  const name = stageOf(status)
  if (name === undefined || seen.at(-1)?.name === name) return [...seen]
  return [...seen.filter((stage) => stage.name !== name).map(end), { name, startedAt: at, endedAt: undefined }]
}
