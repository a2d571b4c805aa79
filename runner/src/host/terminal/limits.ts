import { HEARTBEAT_MS, MAX_REPLAY_BYTES } from '@cliscale/contract'

/** Bounds of one session's viewers. Tests make them smaller. */
export interface TerminalLimits {
  readonly viewers: number
  /** Upgrades whose assertion is being checked. */
  readonly pendingUpgrades: number
  readonly verifyMs: number
  /** How long a viewer may be connected without its first message. */
  readonly helloMs: number
  readonly heartbeatMs: number
  readonly pingMs: number
  /** A viewer from whom nothing has come for so long is dropped. */
  readonly silenceMs: number
  readonly resizeDebounceMs: number
  /** How long the viewer whose size rules may be away before another one's does. */
  readonly driverGraceMs: number
  /** What a viewer may send in a second, whoever reads it. */
  readonly inputBytesPerSecond: number
  /** A viewer that is further behind gets a snapshot. */
  readonly replayBytes: number
  /** A restart of the host parses at most about so much of the output again. */
  readonly checkpointBytes: number
  /** A viewer waits so long for a snapshot; then it starts from the raw tail of the output. */
  readonly snapshotMs: number
  /** A snapshot has as much of the scrollback as fits. */
  readonly snapshotBytes: number
  /** Processor time after which the screen's thread counts as hung. */
  readonly screenStallMs: number
  /** Processor time that output may use beyond what plain text and a quarter of a processor give. */
  readonly screenBudgetMs: number
  /** Pause before a screen that was given up is made again; it doubles up to 64 times this. */
  readonly screenPauseMs: number
  /** How long a viewer that is put out, or left at the end, may take to close. */
  readonly closeMs: number
}

export const DEFAULT_LIMITS: TerminalLimits = {
  viewers: 32,
  pendingUpgrades: 64,
  verifyMs: 10_000,
  helloMs: 30_000,
  heartbeatMs: HEARTBEAT_MS,
  pingMs: 20_000,
  silenceMs: 45_000,
  resizeDebounceMs: 100,
  inputBytesPerSecond: 4 * 1024 * 1024,
  driverGraceMs: 5_000,
  replayBytes: MAX_REPLAY_BYTES,
  checkpointBytes: 16 * 1024 * 1024,
  snapshotMs: 2_500,
  snapshotBytes: 2 * 1024 * 1024,
  screenStallMs: 1_500,
  screenBudgetMs: 2_000,
  screenPauseMs: 1_000,
  closeMs: 2_000,
}
