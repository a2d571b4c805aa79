/**
 * WebSocket frames (RFC 6455 section 5), as far as the gateway itself speaks them: whole messages to a client, and the
 * one message that a client sends first. Between a client and its pod nothing of this is used.
 */
import { CLOSE } from '@cliscale/contract'

const Opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

function encodeFrame(opcode: number, body: Uint8Array): Buffer {
  const extended = body.length < 126 ? 0 : body.length < 65_536 ? 2 : 8
  const frame = Buffer.allocUnsafe(2 + extended + body.length)
  frame[0] = 0x80 | opcode
  frame[1] = extended === 0 ? body.length : extended === 2 ? 126 : 127
  if (extended === 2) frame.writeUInt16BE(body.length, 2)
  if (extended === 8) frame.writeBigUInt64BE(BigInt(body.length), 2)
  frame.set(body, 2 + extended)
  return frame
}

/** A whole binary message. */
export function binaryFrame(body: Uint8Array): Buffer {
  return encodeFrame(Opcode.binary, body)
}

/** A Close frame; `reason` is cut to what a control frame holds. */
export function closeFrame(code: number, reason = ''): Buffer {
  const text = Buffer.from(reason).subarray(0, 123)
  const body = Buffer.allocUnsafe(2 + text.length)
  body.writeUInt16BE(code)
  text.copy(body, 2)
  return encodeFrame(Opcode.close, body)
}

/** What a client's bytes turned out to be. `code` is the close code that a fault calls for. */
export type FirstMessage =
  | { readonly type: 'message'; readonly body: Buffer }
  | { readonly type: 'close' }
  | { readonly type: 'fault'; readonly code: number; readonly reason: string }

interface Frame {
  readonly opcode: number
  readonly isFinal: boolean
  readonly body: Buffer
  readonly size: number
}

const utf8 = new TextDecoder('utf-8', { fatal: true })
/** One message in more pieces than this is no terminal's. */
const MAX_FRAGMENTS = 1_000

/** Reads the first data message of a client. Feed it until it answers; it keeps at most `maxBytes` and a header. */
export class FirstMessageReader {
  readonly #maxBytes: number
  #buffer: Buffer = Buffer.alloc(0)
  #fragments: Buffer[] = []
  #opcode: number | undefined

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  push(chunk: Buffer): FirstMessage | undefined {
    this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk])
    for (;;) {
      const frame = this.#nextFrame()
      if (frame === undefined) return undefined
      if ('type' in frame) return frame
      this.#buffer = this.#buffer.subarray(frame.size)
      const answer = this.#take(frame)
      if (answer) return answer
    }
  }

  #nextFrame(): Frame | FirstMessage | undefined {
    const [first, second] = this.#buffer
    if (first === undefined || second === undefined) return undefined
    const wrong = headerFault(first, second)
    if (wrong) return fault(CLOSE.protocolError, wrong)
    const short = second & 0x7f
    const extended = short < 126 ? 0 : short === 126 ? 2 : 8
    const start = 2 + extended + 4
    if (this.#buffer.length < 2 + extended) return undefined
    const length = readLength(this.#buffer, short)
    const kept = this.#fragments.reduce((sum, part) => sum + part.length, 0)
    if (length + kept > this.#maxBytes) return fault(CLOSE.tooBig, `a message may be at most ${this.#maxBytes} bytes`)
    if (this.#buffer.length < start + length) return undefined
    return {
      opcode: first & 0x0f,
      isFinal: (first & 0x80) !== 0,
      body: unmask(this.#buffer.subarray(start, start + length), this.#buffer.subarray(start - 4, start)),
      size: start + length,
    }
  }

  #take(frame: Frame): FirstMessage | undefined {
    if (frame.opcode === Opcode.close) return { type: 'close' }
    if (frame.opcode > Opcode.close) return undefined
    const isContinuation = frame.opcode === Opcode.continuation
    if (isContinuation !== (this.#opcode !== undefined)) return fault(CLOSE.protocolError, 'fragments out of order')
    this.#opcode ??= frame.opcode
    this.#fragments.push(frame.body)
    if (this.#fragments.length > MAX_FRAGMENTS) return fault(CLOSE.policy, 'a message in too many fragments')
    if (!frame.isFinal) return undefined
    const body = Buffer.concat(this.#fragments)
    if (this.#opcode === Opcode.text && !isUtf8(body)) return fault(CLOSE.invalidData, 'text must be UTF-8')
    return { type: 'message', body }
  }
}

function fault(code: number, reason: string): FirstMessage {
  return { type: 'fault', code, reason }
}

/** What is wrong with the first two bytes of a client's frame; undefined when nothing is. */
function headerFault(first: number, second: number): string | undefined {
  const opcode = first & 0x0f
  if ((first & 0x70) !== 0) return 'reserved bits are set'
  if ((opcode > Opcode.binary && opcode < Opcode.close) || opcode > Opcode.pong) return 'unknown opcode'
  if ((second & 0x80) === 0) return 'client frames must be masked'
  const isWholeAndShort = (first & 0x80) !== 0 && (second & 0x7f) <= 125
  return opcode >= Opcode.close && !isWholeAndShort ? 'a control frame must be short and whole' : undefined
}

function readLength(buffer: Buffer, short: number): number {
  if (short < 126) return short
  if (short === 126) return buffer.readUInt16BE(2)
  return Number(buffer.readBigUInt64BE(2))
}

function unmask(body: Buffer, mask: Buffer): Buffer {
  return Buffer.from(body.map((byte, i) => byte ^ (mask[i & 3] ?? 0)))
}

function isUtf8(bytes: Buffer): boolean {
  try {
    utf8.decode(bytes)
    return true
  } catch {
    return false
  }
}
