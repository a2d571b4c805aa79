import type { Snapshot } from './checkpoint.ts'
import type { OutputLog } from './output-log.ts'

const MAX_TAIL_BYTES = 256 * 1024
/** Where the tail may begin is looked for in so much of it. */
const SEARCH_BYTES = 64 * 1024
const NOTE =
  '\x1b[7m[cliscale] The screen could not be redrawn. The last output follows as it was printed; the log has all of it.\x1b[0m\r\n'

/**
 * What a viewer starts with where there is no screen: a line that says so, and then the output from `seq` on, at most
 * 256 KiB and at most half of what is replayed.
 */
export function rawTail(log: OutputLog, replayBytes: number, modes: string): Snapshot {
  const from = log.nextReadable(Math.max(0, log.head - Math.min(MAX_TAIL_BYTES, Math.floor(replayBytes / 2))))
  const chunk = log.read(from, SEARCH_BYTES)
  const seq = chunk ? from + (from === 0 ? 0 : findStart(chunk.bytes)) : log.head
  const size = log.read(seq, 1)?.size ?? log.size
  return { seq, size, bytes: Buffer.from(modes + NOTE) }
}

/** Behind a line break that is not in a string, as well as can be told from here; else at a character. */
export function findStart(bytes: Uint8Array): number {
  let at = 0
  let inString = false
  for (; at < bytes.length; at++) {
    const byte = bytes[at]
    if (byte === 0x0a && !inString) return at + 1
    if (byte === 0x07 || byte === 0x18 || byte === 0x1a) inString = false
    // ESC and one of `P X ] ^ _` begins a string; any other escape sequence ends one.
    else if (byte === 0x1b) inString = [0x50, 0x58, 0x5d, 0x5e, 0x5f].includes(bytes[at + 1] ?? 0)
  }
  return Math.max(
    0,
    bytes.findIndex((byte) => (byte & 0xc0) !== 0x80),
  )
}
