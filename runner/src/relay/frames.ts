import { z } from 'zod'

/**
 * Frames on the socket between host and work: a length (u32, big endian) of what follows, a type byte, a body.
 */

/** The largest frame: a whole order as JSON, each of its bytes escaped (LIMITS of the contract, times six). */
export const MAX_FRAME_BYTES = 4 * 1024 * 1024
const HEAD_BYTES = 5

export const FrameType = {
  json: 0,
  /** host → work: the terminal's answer to a query of the program. */
  input: 1,
  /** work → host: offset of the first byte (u48, big endian), then bytes of the terminal's output. */
  output: 2,
  /** host → work: TypedHead as JSON, LF, what a viewer typed. */
  typed: 3,
} as const

const TypedHead = z.object({
  /** Whose it is: one page's input, over all of its connections. */
  stream: z.string().min(1).max(200),
  /** Offset of the first byte in the stream. */
  at: z.int().min(0),
  /** See TypedHead of the contract. */
  ahead: z.boolean(),
})
/** Bytes that a viewer typed. */
export interface TypedPiece extends z.infer<typeof TypedHead> {
  readonly bytes: Uint8Array
}

export interface Frame {
  readonly type: number
  readonly body: Buffer
}

/** The bytes of one frame. */
export function encodeFrame(type: number, ...parts: readonly Uint8Array[]): Buffer {
  const head = Buffer.allocUnsafe(HEAD_BYTES)
  const length = parts.reduce((sum, part) => sum + part.length, 1)
  if (length > MAX_FRAME_BYTES) throw new TypeError(`a frame of ${length} bytes is too large`)
  head.writeUInt32BE(length, 0)
  head[4] = type
  return Buffer.concat([head, ...parts])
}

/** A frame of output that starts at `offset`. */
export function encodeOutput(offset: number, bytes: Uint8Array): Buffer {
  const head = Buffer.allocUnsafe(6)
  head.writeUIntBE(offset, 0, 6)
  return encodeFrame(FrameType.output, head, bytes)
}

/** What `encodeOutput` made. Throws RangeError on a body that is too short. */
export function decodeOutput(body: Buffer): { offset: number; bytes: Buffer } {
  return { offset: body.readUIntBE(0, 6), bytes: body.subarray(6) }
}

/** A frame of what a viewer typed. */
export function encodeTyped({ bytes, ...head }: TypedPiece): Buffer {
  return encodeFrame(FrameType.typed, Buffer.from(`${JSON.stringify(head)}\n`), bytes)
}

/** What `encodeTyped` made. Throws SyntaxError or ZodError. */
export function decodeTyped(body: Buffer): TypedPiece {
  const end = body.indexOf(0x0a)
  // A copy: the frame is a part of a larger read buffer that would stay alive for as long as these bytes wait.
  return { ...TypedHead.parse(JSON.parse(body.toString('utf8', 0, end))), bytes: Buffer.from(body.subarray(end + 1)) }
}

/** Cuts a stream of bytes into frames, however it was split. */
export class FrameDecoder {
  private pending: Buffer[] = []
  private pendingBytes = 0

  /**
   * The frames that are whole now.
   * @throws RangeError on a length of zero or above MAX_FRAME_BYTES; the stream cannot be read on after that.
   */
  push(chunk: Buffer): Frame[] {
    this.pending.push(chunk)
    this.pendingBytes += chunk.length
    const frames: Frame[] = []
    let wanted = this.wanted()
    while (wanted !== undefined && this.pendingBytes >= wanted) {
      const all = this.joined()
      frames.push({ type: all[4]!, body: all.subarray(HEAD_BYTES, wanted) })
      this.pending = all.length === wanted ? [] : [all.subarray(wanted)]
      this.pendingBytes = all.length - wanted
      wanted = this.wanted()
    }
    return frames
  }

  /** Bytes of the next frame with its head; undefined until the head is there. */
  private wanted(): number | undefined {
    if (this.pendingBytes < HEAD_BYTES) return undefined
    if (this.pending[0]!.length < HEAD_BYTES) this.joined()
    const length = this.pending[0]!.readUInt32BE(0)
    if (length < 1 || length > MAX_FRAME_BYTES) throw new RangeError(`a frame of ${length} bytes is not allowed`)
    return length + HEAD_BYTES - 1
  }

  private joined(): Buffer {
    if (this.pending.length > 1) this.pending = [Buffer.concat(this.pending, this.pendingBytes)]
    return this.pending[0]!
  }
}
