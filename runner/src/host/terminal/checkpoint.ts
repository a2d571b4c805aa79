import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { TerminalSize } from '@cliscale/contract'
import { CHECKPOINT_NAME } from './journal.ts'

/** Bytes that draw screen, scrollback and modes on a reset terminal, as they were at an output offset. */
export interface Snapshot {
  readonly seq: number
  readonly size: TerminalSize
  readonly bytes: Buffer
}

/** Keeps a snapshot beside the journal, so that a restart need not parse the whole output again. */
export function saveCheckpoint(dir: string, snapshot: Snapshot): void {
  const file = path.join(dir, CHECKPOINT_NAME)
  const head = Buffer.from(`${JSON.stringify({ seq: snapshot.seq, size: snapshot.size })}\n`)
  writeFileSync(`${file}.new`, Buffer.concat([head, snapshot.bytes]), { mode: 0o600 })
  renameSync(`${file}.new`, file)
}

/** The kept snapshot; undefined when there is none, or none of this output. */
export function loadCheckpoint(dir: string, head: number): Snapshot | undefined {
  try {
    const bytes = readFileSync(path.join(dir, CHECKPOINT_NAME))
    const lf = bytes.indexOf(0x0a)
    const { seq, size } = JSON.parse(bytes.subarray(0, lf).toString()) as Omit<Snapshot, 'bytes'>
    return seq <= head ? { seq, size, bytes: bytes.subarray(lf + 1) } : undefined
  } catch {
    // No checkpoint, or a broken one: the journal has everything that it had.
    return undefined
  }
}

/** Lies beside the journal while a host draws again what an earlier one had drawn. */
const CATCH_UP_NAME = 'screen.catch-up'

/** Whether the last host ended while it drew old output again: then that output is not touched any more. */
export function isCatchingUp(dir: string): boolean {
  return existsSync(path.join(dir, CATCH_UP_NAME))
}

export function markCatchUp(dir: string): void {
  writeFileSync(path.join(dir, CATCH_UP_NAME), '', { mode: 0o600 })
}

export function clearCatchUp(dir: string): void {
  rmSync(path.join(dir, CATCH_UP_NAME), { force: true })
}
