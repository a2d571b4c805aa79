/**
 * The internal API between a session's host and the controller (docs/design.md). It has a listener of its own:
 * a port on Kubernetes, a Unix socket of mode 0600 on one machine; it is never routed from outside.
 *
 * | call | credential | body | answer |
 * |---|---|---|---|
 * | POST /internal/claim | launch identity | ClaimRequest | 200 ClaimResponse; 401; 404; 409 claim_conflict; 503 |
 * | POST /internal/started | report credential | – | 204 (repeatable) |
 * | POST /internal/sessions/{id}/events | report credential | SessionEvent | 204 (repeatable) |
 * | POST /internal/sessions/{id}/output | report credential | raw bytes | 200 OutputResponse |
 * | GET /internal/sessions/{id}/control | report credential | – | NDJSON of ControlMessage, open until the session ends |
 * | GET /internal/jwks.json | – | – | JWKS |
 *
 * A claim that is answered 404 `session_not_found` has nothing to run, and never will: the session has ended, is to stop
 * before it began, or is held by another life of the same launch (another nonce: its spool was lost). The host leaves
 * quietly with exit code 0. 409 `claim_conflict` means that another launch holds the session: the host runs nothing, and on
 * Kubernetes waits until it is deleted, because a duplicate that exits could make the Job controller delete the winner. 503
 * with `Retry-After`: the database or the cluster cannot be asked now. `started` is answered 404 when the session has ended
 * meanwhile: then nothing may run. Exit code 0 of a host says that nothing is left to do or to report; any other has its
 * launcher start it again.
 *
 * Each credential travels as `Authorization: Bearer`.
 */
import { z } from 'zod'
import { FINAL_STATUSES, REASON_NAMES, STAGES } from './session.ts'
import { MAX_COLUMNS, MAX_ROWS } from './terminal.ts'

export const ClaimRequest = z.strictObject({
  /** Chosen once by the host and kept with its spool: the same pod may repeat a claim with the same nonce. */
  nonce: z.string().min(16).max(128),
})
export type ClaimRequest = z.infer<typeof ClaimRequest>

/** What a session is to do. It waits encrypted in `session_orders` until `started` is confirmed. */
export const WorkOrder = z.object({
  command: z.string(),
  codeUrl: z.string().nullable(),
  checksumSha256: z.string().nullable(),
  prompt: z.string().nullable(),
  /** null: choose by the files that are there; empty: skip. */
  installCmd: z.string().nullable(),
  env: z.record(z.string(), z.string()),
  /** The size that the terminal begins with. Absent: the default. */
  columns: z.int().min(1).max(MAX_COLUMNS).optional(),
  rows: z.int().min(1).max(MAX_ROWS).optional(),
})
export type WorkOrder = z.infer<typeof WorkOrder>

/** From where code may be fetched; the controller's configuration, enforced by the host at each dial. */
export const FetchPolicy = z.object({
  /** Hosts that are allowed; empty: every public one. */
  codeHosts: z.array(z.string()),
  /** `host:port` entries for which https and public addresses are not demanded. */
  unsafeHosts: z.array(z.string()),
  /** Whether an absolute path of a folder is allowed as code_url (one machine only). */
  localFolders: z.boolean(),
})
export type FetchPolicy = z.infer<typeof FetchPolicy>

export const ClaimResponse = z.object({
  sessionId: z.uuid(),
  /** The id of the launch that holds the claim (on Kubernetes the pod's uid); the epoch of its output. */
  podUid: z.string(),
  /** Replaces the one of an earlier answer to the same claim. */
  reportCredential: z.string(),
  /** Whether `started` was confirmed before; then `order` is null. */
  started: z.boolean(),
  order: WorkOrder.nullable(),
  timeoutSeconds: z.int(),
  fetchPolicy: FetchPolicy,
})
export type ClaimResponse = z.infer<typeof ClaimResponse>

/** How a session ended: in its host's last report, and in the termination message of the host's container. */
export const FinalReport = z.object({
  status: z.enum(FINAL_STATUSES),
  /** One that a newer host knows and we do not counts as `internal`; its detail still says what happened. */
  reason: z
    .enum(REASON_NAMES)
    .or(
      z
        .string()
        .regex(/^[a-z_]{1,64}$/)
        .transform(() => 'internal' as const),
    )
    .nullable(),
  detail: z.string().max(2000).nullable(),
  exitCode: z.int().nullable(),
  signal: z.string().max(20).nullable(),
})
export type FinalReport = z.infer<typeof FinalReport>

const at = z.iso.datetime()
/** What a host reports. Each is idempotent: a stage is known by its name, `running` and `ended` count once. */
export const SessionEvent = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('stage'), name: z.enum(STAGES), at }),
  z.strictObject({ type: z.literal('running'), at }),
  z.strictObject({ type: z.literal('ended'), at, ...FinalReport.shape }),
])
export type SessionEvent = z.infer<typeof SessionEvent>

/** Largest body of one output report, in bytes. */
export const MAX_OUTPUT_REPORT_BYTES = 64 * 1024
/**
 * Request headers of an output report: offset of its first byte, the size it was laid out for, and when its bytes were
 * read (OutputTimes). A host of an earlier version leaves the times out; ones that are malformed count as left out.
 */
export const OUTPUT_HEADERS = {
  offset: 'x-cliscale-offset',
  columns: 'x-cliscale-columns',
  rows: 'x-cliscale-rows',
  times: 'x-cliscale-times',
} as const
/** `next`: the offset the controller wants next. Bytes it already has are ignored; a gap changes nothing. */
export const OutputResponse = z.object({ next: z.int() })
export type OutputResponse = z.infer<typeof OutputResponse>

export const ControlMessage = z.discriminatedUnion('type', [
  z.object({ type: z.literal('ping') }),
  /** `reason`: where nobody asked for this session's end. A host that does not know it takes `stopped_by_user`. */
  z.object({ type: z.literal('stop'), reason: z.literal('server_stopped').optional().catch(undefined) }),
  z.object({ type: z.literal('revoke'), viewer: z.uuid() }),
])
export type ControlMessage = z.infer<typeof ControlMessage>
/** The controller writes at least a ping this often; a host that hears nothing for three times as long reconnects. */
export const CONTROL_PING_SECONDS = 10
