/**
 * What host and work say to each other (docs/design.md). work listens; host connects, says hello and gets a
 * welcome. Then: prepare → prepared → go → stage … exit → quit. Output flows from the offset that hello names, and
 * is kept by work until it is acknowledged. Each side checks what it reads: work shares its container with the command.
 */
import { MAX_COLUMNS, MAX_ROWS, WorkOrder } from '@cliscale/contract'
import { z } from 'zod'
import { encodeFrame, FrameType } from './frames.ts'

const offset = z.int().min(0)
const size = z.object({ columns: z.int().min(1).max(MAX_COLUMNS), rows: z.int().min(1).max(MAX_ROWS) })
/** Why a command was stopped; it decides the session's status, whatever the exit code. */
const stopCause = z.enum(['user', 'deadline', 'install_limit'])
export type StopCause = z.infer<typeof stopCause>
/** `system`: the container was told to end (its pod is deleted, its machine goes away); the host did not ask for it. */
const endCause = z.enum([...stopCause.options, 'system'])
export type EndCause = z.infer<typeof endCause>

/** What work needs of a work order, and the session it belongs to. */
export const PreparedOrder = WorkOrder.pick({ command: true, prompt: true, installCmd: true, env: true }).extend({
  sessionId: z.uuid(),
  /** How long each stage may take. The host keeps it, and work when the host does not; an earlier host leaves it out. */
  limitsMs: z.object({ installing: z.int().min(0), running: z.int().min(0) }).optional(),
})
export type PreparedOrder = z.infer<typeof PreparedOrder>

export const HostMessage = z.discriminatedUnion('type', [
  /**
   * First message of a connection. `secret` is chosen by the host; the first connection sets it and later ones must
   * show it. `from`: offset of the output the host wants next; what lies before it is acknowledged.
   */
  z.object({ type: z.literal('hello'), secret: z.string().min(16).max(128), from: offset }),
  z.object({ type: z.literal('prepare'), order: PreparedOrder }),
  z.object({ type: z.literal('go'), size }),
  z.object({ type: z.literal('resize'), size }),
  z.object({ type: z.literal('stop'), cause: stopCause, graceMs: z.int().min(0) }),
  z.object({ type: z.literal('ack'), offset }),
  /** The exit is journaled, or nothing will run: work ends what it started and exits. */
  z.object({ type: z.literal('quit') }),
])
export type HostMessage = z.infer<typeof HostMessage>

const instant = z.iso.datetime()
const stage = z.object({ name: z.enum(['installing', 'running']), at: instant })
export type WorkStage = z.infer<typeof stage>

/** How it ended. Exactly one of exitCode, signal and failure is set. */
export const WorkExit = z.object({
  phase: z.enum(['install', 'command']),
  exitCode: z.int().nullable(),
  signal: z.string().max(20).nullable(),
  /** It could not be started. */
  failure: z
    .object({ reason: z.enum(['launch_failed', 'install_failed', 'disk_full']), detail: z.string().max(1000) })
    .nullable(),
  /** The install command, where it is not the order's own. */
  ran: z
    .string()
    .regex(/^\P{C}{1,200}$/u)
    .optional(),
  /** The system ended a process of the session for want of memory while it ran. */
  oomKilled: z.boolean(),
  stopped: endCause.nullable(),
  at: instant,
  /** Output bytes in all. */
  offset,
})
export type WorkExit = z.infer<typeof WorkExit>

/** How far the input of one stream came (InputProgress of the contract). */
export const TypedProgress = z.object({
  stream: z.string().max(200),
  received: offset,
  taken: offset,
  dropped: z.int().min(0).default(0),
  isLineCut: z.boolean().default(false),
})
export type TypedProgress = z.infer<typeof TypedProgress>

export const WORK_STATES = ['waiting', 'prepared', 'running', 'ended'] as const
export type WorkState = (typeof WORK_STATES)[number]

export const WorkMessage = z.discriminatedUnion('type', [
  /** `base`: first offset that work can still send. `codeTaken`: see `code_taken`. */
  z.object({
    type: z.literal('welcome'),
    state: z.enum(WORK_STATES),
    base: offset,
    stages: z.array(stage).max(2),
    codeTaken: z.boolean().default(false),
    /** Input that came so far. A work of an earlier version leaves it out, and understands no typed frames. */
    typed: z.array(TypedProgress).optional(),
  }),
  z.object({ type: z.literal('refused'), why: z.string().max(200) }),
  z.object({ type: z.literal('prepared') }),
  /** work has a copy of the code of its own: where the host unpacked it may be emptied. Said before any stage. */
  z.object({ type: z.literal('code_taken') }),
  z.object({ type: z.literal('stage'), stage }),
  z.object({ type: z.literal('typed'), progress: TypedProgress }),
  /** Sent after the last byte of output. */
  z.object({ type: z.literal('exit'), exit: WorkExit }),
])
export type WorkMessage = z.infer<typeof WorkMessage>

/** The frame of a message. */
export function encodeMessage(message: HostMessage | z.input<typeof WorkMessage>): Buffer {
  return encodeFrame(FrameType.json, Buffer.from(JSON.stringify(message)))
}

/** Reads a message of the host. Throws SyntaxError or ZodError. */
export function decodeHostMessage(body: Buffer): HostMessage {
  return HostMessage.parse(JSON.parse(body.toString()))
}

/** Reads a message of work. Throws SyntaxError or ZodError. */
export function decodeWorkMessage(body: Buffer): WorkMessage {
  return WorkMessage.parse(JSON.parse(body.toString()))
}
