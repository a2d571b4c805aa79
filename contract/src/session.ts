/**
 * The words for a session's life: statuses, stages and reasons. The API, the terminal, the CLI and the metrics
 * print from these lists and from nothing else (docs/design.md).
 */

/** Statuses of sessions that go on, in the order of their life. */
export const OPEN_STATUSES = ['queued', 'scheduling', 'starting', 'running'] as const
/** How a session can end: nothing follows these. */
export const FINAL_STATUSES = ['succeeded', 'failed', 'stopped', 'expired', 'lost'] as const
export type FinalStatus = (typeof FINAL_STATUSES)[number]
/** Every status a session can have. */
export const SESSION_STATUSES = [...OPEN_STATUSES, ...FINAL_STATUSES] as const
export type SessionStatus = (typeof SESSION_STATUSES)[number]

/** Whether a status is final: nothing follows it. */
export function isFinal(status: SessionStatus): status is FinalStatus {
  return (FINAL_STATUSES as readonly string[]).includes(status)
}

/** Names in the timeline. `pulling_image` to `installing` happen inside `starting`. */
export const STAGES = [
  'queued',
  'scheduling',
  'pulling_image',
  'fetching_code',
  'verifying',
  'installing',
  'running',
] as const
export type Stage = (typeof STAGES)[number]

interface ReasonFacts {
  /** Whether starting the same session again can help. */
  readonly retryable: boolean
  /** One sentence for a person: what went wrong and what to do. */
  readonly hint: string
  /** How a session ends to whose launch this was done; `failed` when absent. */
  readonly status?: FinalStatus
  /** The place is the cause: a session that has not begun may be launched again, elsewhere or later. */
  readonly ofPlace?: true
}

/**
 * The closed list of reasons, with all that depends on one. A success has none. A newer part may send one that is not
 * in it: `factsOf` knows what to make of that.
 */
export const REASONS = {
  bad_code_url: { retryable: false, hint: 'The code_url cannot be used. Check the address and try again.' },
  code_host_refused: {
    retryable: false,
    hint: 'The code_url leads to an address that sessions may not fetch from. Use a public https address.',
  },
  download_failed: { retryable: true, hint: 'The code could not be downloaded. Try again in a moment.' },
  download_timeout: { retryable: true, hint: 'The download took too long. Try again, or use a smaller archive.' },
  code_too_large: { retryable: false, hint: 'The code is larger than a session may fetch. Use a smaller archive.' },
  not_an_archive: {
    retryable: false,
    hint: 'What was downloaded is not a zip, tar.gz or tar archive. Check the code_url.',
  },
  checksum_mismatch: {
    retryable: false,
    hint: 'The downloaded bytes do not match the requested SHA-256. Check code_checksum_sha256.',
  },
  archive_refused: { retryable: false, hint: 'The archive breaks a safety rule, so none of it was unpacked.' },
  ref_not_found: { retryable: false, hint: 'The branch, tag or commit does not exist in the repository.' },
  folder_not_found: { retryable: false, hint: 'The folder does not exist in the repository at that ref.' },
  auth_required: { retryable: false, hint: 'The repository is private or does not exist.' },
  install_failed: { retryable: false, hint: 'The install command failed. Its output is above.' },
  exit_nonzero: { retryable: false, hint: 'The command ended with an exit code other than 0.' },
  killed_by_signal: { retryable: false, hint: 'The command was ended by a signal.' },
  oom_killed: { retryable: false, hint: 'The command exceeded its memory limit and was killed.' },
  disk_full: { retryable: false, hint: 'The session ran out of disk space.' },
  image_pull: { retryable: true, hint: 'The image could not be pulled.' },
  unschedulable: { retryable: true, hint: 'The cluster found no node with enough room in time.' },
  container_failed: {
    retryable: true,
    hint: 'A container of the session could not be started. The operator of CLI Scale can find out why.',
  },
  queue_deadline: { retryable: true, hint: 'The session waited too long to start. Try again.' },
  launch_failed: { retryable: true, hint: 'The session could not be started. Try again.' },
  deadline: { status: 'expired', retryable: false, hint: 'The command ran longer than timeout_seconds and was ended.' },
  evicted: {
    status: 'lost',
    ofPlace: true,
    retryable: true,
    hint: 'The cluster evicted the session: its node ran out of resources or was taken away. Start the session again.',
  },
  node_lost: {
    status: 'lost',
    ofPlace: true,
    retryable: true,
    hint: 'The node that ran the session disappeared. Start the session again.',
  },
  runner_lost: {
    status: 'lost',
    ofPlace: true,
    retryable: true,
    hint: 'The processes that ran the session disappeared. Its log is kept up to that point. Start the session again.',
  },
  stopped_by_user: { retryable: false, hint: 'The session was stopped on request.' },
  server_stopped: {
    retryable: true,
    hint: 'The server was shut down while the session was open. Start the session again.',
  },
  internal: { retryable: true, hint: 'Something failed inside CLI Scale. Try again.' },
} as const satisfies Record<string, ReasonFacts>
export type Reason = keyof typeof REASONS
/** All reasons as a list, for schemas. */
export const REASON_NAMES = Object.keys(REASONS) as [Reason, ...Reason[]]

const UNKNOWN_REASON: ReasonFacts = { retryable: true, hint: 'This version of CLI Scale does not know the reason.' }

/** What depends on a reason, also on one that only a newer part knows. */
export function factsOf(reason: string): ReasonFacts {
  return Object.hasOwn(REASONS, reason) ? REASONS[reason as Reason] : UNKNOWN_REASON
}
