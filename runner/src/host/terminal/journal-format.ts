/**
 * The bytes of the journal file: a preamble with two slots of state, then records, one behind the other.
 *
 * State that must stay writable when the disk is full (epoch, exit, what was skipped) lives in the preamble, which is
 * allocated when the file is made. The slots are written in turn, so a kill in the middle of a write leaves the other.
 */
import { crc32 } from 'node:zlib'
import type { Exit, TerminalSize } from '@cliscale/contract'

const SLOT_BYTES = 16 * 1024
/** Where the first record starts. */
export const PREAMBLE_BYTES = 2 * SLOT_BYTES
/** Length of a record's header. */
export const HEADER_BYTES = 32
/** Longer output is split into several records. */
export const MAX_BODY_BYTES = 256 * 1024

export const RecordType = { output: 0xc1, size: 0xc2 } as const

/** What is true of output that came after the journal was full. */
interface Overflow {
  /** Shown where the journal ends; it counts as output, directly behind the last kept byte. */
  readonly marker: string
  /** Offset of the marker. */
  readonly at: number
  /** Size that the marker was laid out for. */
  readonly size: TerminalSize
  readonly head: number
  readonly workOffset: number
}

export interface JournalState {
  readonly generation: number
  readonly epoch: string | null
  readonly exit: Exit | null
  /** ISO 8601. */
  readonly endedAt: string | null
  /** The size now, once the journal is full; before that the records have it. */
  readonly size: TerminalSize
  readonly overflow: Overflow | null
}

export interface RecordHeader {
  readonly type: number
  readonly timeMs: number
  readonly length: number
  readonly checksum: number
  /** Output bytes before this record. */
  readonly head: number
  /** Output: offset in work's own output, or -1 for bytes of the host. Size: columns * 65536 + rows. */
  readonly detail: number
}

/** The header of a record as bytes. */
export function encodeHeader(header: RecordHeader): Buffer {
  const out = Buffer.alloc(HEADER_BYTES)
  out[0] = header.type
  out.writeUIntLE(header.timeMs, 2, 6)
  out.writeUInt32LE(header.length, 8)
  out.writeUInt32LE(header.checksum, 12)
  out.writeDoubleLE(header.head, 16)
  out.writeDoubleLE(header.detail, 24)
  return out
}

/** Reads a header at `at`; undefined when what stands there cannot be one that follows `head` output bytes. */
export function decodeHeader(bytes: Buffer, at: number, head: number): RecordHeader | undefined {
  const type = bytes[at]
  if (type !== RecordType.output && type !== RecordType.size) return undefined
  const header: RecordHeader = {
    type,
    timeMs: bytes.readUIntLE(at + 2, 6),
    length: bytes.readUInt32LE(at + 8),
    checksum: bytes.readUInt32LE(at + 12),
    head: bytes.readDoubleLE(at + 16),
    detail: bytes.readDoubleLE(at + 24),
  }
  return header.head === head && header.length <= MAX_BODY_BYTES ? header : undefined
}

/** A size as the detail of a record. */
export function packSize(size: TerminalSize): number {
  return size.columns * 65536 + size.rows
}

/** The size that a record's detail holds. */
export function unpackSize(detail: number): TerminalSize {
  return { columns: Math.floor(detail / 65536), rows: detail % 65536 }
}

/** A slot's bytes and where they belong. */
export function encodeState(state: JournalState): { position: number; bytes: Buffer } {
  let body = Buffer.from(JSON.stringify(state))
  if (body.length > SLOT_BYTES - 8 && state.exit !== null) {
    body = Buffer.from(JSON.stringify({ ...state, exit: { ...state.exit, detail: null } }))
  }
  const bytes = Buffer.alloc(8 + body.length)
  bytes.writeUInt32LE(body.length, 0)
  bytes.writeUInt32LE(crc32(body), 4)
  body.copy(bytes, 8)
  return { position: (state.generation % 2) * SLOT_BYTES, bytes }
}

/** The newer of the two whole slots; undefined when none is whole. */
export function decodeState(preamble: Buffer): JournalState | undefined {
  const slots = [0, SLOT_BYTES].map((at) => decodeSlot(preamble.subarray(at, at + SLOT_BYTES)))
  return slots.reduce((best, slot) => (slot && (!best || slot.generation > best.generation) ? slot : best), undefined)
}

function decodeSlot(slot: Buffer): JournalState | undefined {
  if (slot.length < 8) return undefined
  const body = slot.subarray(8, 8 + slot.readUInt32LE(0))
  if (body.length === 0 || body.length !== slot.readUInt32LE(0) || crc32(body) !== slot.readUInt32LE(4))
    return undefined
  return JSON.parse(body.toString()) as JournalState
}
