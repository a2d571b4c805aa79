import { encodeTyped, INPUT_WINDOW_BYTES, type InputProgress, mayInterrupt } from '@cliscale/contract/terminal'

/** The largest piece that is sent at once, in bytes: small enough to show progress. */
const PIECE_BYTES = 16 * 1024
/** How much may wait in this page, in bytes. */
export const MAX_WAITING_BYTES = 16 * 1024 * 1024
/** Around the text of a bracketed paste. Without the end, the program treats everything that follows as pasted. */
const PASTE_BEGIN = '\u001b[200~'
const PASTE_END = '\u001b[201~'

/** The input since nothing was waiting, in bytes. */
export interface Typing {
  readonly total: number
  /** Taken by the program. */
  readonly taken: number
  /** Still in this page, so that it can be cancelled. */
  readonly unsent: number
}

export interface InputStreamDeps {
  readonly name: string
  readonly onChange: (typing: Typing) => void
  /** This many bytes were dropped because a key interrupted the program. */
  readonly onDropped: (bytes: number) => void
  /** The program reads lines, and one was longer than its terminal holds: the rest of it is lost. */
  readonly onLineCut: () => void
}

interface Piece {
  readonly at: number
  readonly bytes: Uint8Array
}

/**
 * What is typed on this page, across all its connections: kept until the program has taken it, with at most a window of
 * it in flight. A new connection continues where the session is, so that nothing is lost or sent twice.
 */
export class InputStream {
  readonly name: string
  readonly #deps: InputStreamDeps
  #send: ((message: Uint8Array<ArrayBuffer>) => void) | undefined
  #pieces: Piece[] = []
  #begin = 0
  #taken = 0
  #sent = 0
  #end = 0

  constructor(deps: InputStreamDeps) {
    this.name = deps.name
    this.#deps = deps
  }

  get typing(): Typing {
    return { total: this.#end - this.#begin, taken: this.#taken - this.#begin, unsent: this.#end - this.#sent }
  }

  /** Takes what was typed. False, and nothing of it is taken, when too much is waiting already. */
  type(bytes: Uint8Array): boolean {
    if (this.#end - this.#taken + bytes.length > MAX_WAITING_BYTES) return false
    if (this.#taken === this.#end) this.#begin = this.#end
    const at = this.#end
    for (const piece of cut(bytes)) {
      this.#pieces.push({ at: this.#end, bytes: piece })
      this.#end += piece.length
    }
    this.#pump()
    // It also keeps its place behind everything that waits, for a program that treats it as a key like any other.
    const isKey = bytes.length === 1 && mayInterrupt(bytes[0]!)
    if (isKey && this.#sent <= at) this.#send?.(encodeTyped({ at, ahead: true }, bytes))
    this.#changed()
    return true
  }

  /** A connection's first PROGRESS came: continues from there. */
  connect(send: (message: Uint8Array<ArrayBuffer>) => void, progress: InputProgress): void {
    this.#send = send
    this.#sent = Math.max(this.#taken, Math.min(progress.received, this.#end))
    this.progress(progress)
  }

  get isConnected(): boolean {
    return this.#send !== undefined
  }

  disconnect(): void {
    this.#send = undefined
    this.#changed()
  }

  progress({ received, taken, dropped = 0, isLineCut = false }: InputProgress): void {
    // A key that went ahead dropped what was not sent yet.
    const skipped = Math.max(0, received - this.#sent - 1)
    this.#sent = Math.max(this.#sent, received)
    this.#taken = Math.max(this.#taken, Math.min(taken, this.#sent))
    this.#end = Math.max(this.#end, this.#sent)
    this.#pieces = this.#pieces.filter(({ at, bytes }) => at + bytes.length > this.#taken)
    if (dropped + skipped > 0) this.#deps.onDropped(dropped + skipped)
    if (isLineCut) this.#deps.onLineCut()
    this.#pump()
    this.#changed()
  }

  /** Drops what was not sent. The end of a bracketed paste whose beginning was sent is still sent. */
  cancel(): void {
    const unsent = concat(this.#unsent())
    this.#pieces = this.#pieces.flatMap(({ at, bytes }) =>
      at < this.#sent ? [{ at, bytes: bytes.subarray(0, this.#sent - at) }] : [],
    )
    this.#end = this.#sent
    const text = new TextDecoder('latin1').decode(unsent)
    if (text.includes(PASTE_END) && !text.includes(PASTE_BEGIN)) this.type(new TextEncoder().encode(PASTE_END))
    this.#changed()
  }

  /** Everything that was not sent, for a host that knows no offsets; nothing waits afterwards. */
  takeAll(): Uint8Array[] {
    const unsent = this.#unsent()
    this.clear()
    return unsent
  }

  /** No program reads any more. */
  clear(): void {
    this.#pieces = []
    this.#begin = this.#taken = this.#sent = this.#end
    this.#changed()
  }

  #unsent(): Uint8Array[] {
    return this.#pieces.flatMap(({ at, bytes }) => {
      const rest = bytes.subarray(Math.max(0, this.#sent - at))
      return rest.length > 0 ? [rest] : []
    })
  }

  #pump(): void {
    if (this.#send === undefined) return
    for (const { at, bytes } of this.#pieces) {
      const rest = bytes.subarray(Math.max(0, this.#sent - at))
      if (rest.length === 0) continue
      if (this.#sent + rest.length - this.#taken > INPUT_WINDOW_BYTES) return
      this.#send(encodeTyped({ at: this.#sent }, rest))
      this.#sent += rest.length
    }
  }

  #changed(): void {
    this.#deps.onChange(this.typing)
  }
}

/** Cuts bytes into pieces without splitting a character. */
function cut(bytes: Uint8Array): Uint8Array[] {
  const pieces: Uint8Array[] = []
  for (let at = 0; at < bytes.length;) {
    let end = Math.min(at + PIECE_BYTES, bytes.length)
    for (let back = 0; back < 3 && end < bytes.length && (bytes[end]! & 0xc0) === 0x80; back++) end--
    pieces.push(bytes.subarray(at, end))
    at = end
  }
  return pieces
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}
