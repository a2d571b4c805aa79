import {
  ClientType,
  decodeServerMessage,
  encodeBytes,
  encodeClientHello,
  encodeJson,
  type TerminalSize,
} from '@cliscale/contract/terminal'

/** Unprocessed output above which ttyd is asked to pause, and below which to resume, in bytes. */
const PAUSE_ABOVE = 256 * 1024
const RESUME_BELOW = 64 * 1024
const NOTHING = new Uint8Array(0)

export interface PlainLinkDeps {
  readonly send: (message: Uint8Array<ArrayBuffer>) => void
  readonly write: (bytes: Uint8Array, parsed: () => void) => void
  readonly title: (text: string) => void
  /** ttyd's first message came: its program runs. */
  readonly onAttached: () => void
}

/**
 * One connection that speaks `tty`, to an image that has its own ttyd. It has no offsets, no sizes and no exit. What
 * comes before ttyd's title or preferences are the gateway's lines about the wait, which the page shows in its own way.
 * ttyd's pause and resume keep xterm.js from being flooded.
 */
export class PlainLink {
  readonly #deps: PlainLinkDeps
  #isAttached = false
  #unparsed = 0
  #isPaused = false

  constructor(deps: PlainLinkDeps) {
    this.#deps = deps
  }

  get isAttached(): boolean {
    return this.#isAttached
  }

  /** The first message; ttyd starts its program in a terminal of this size. */
  greet(size: TerminalSize | undefined): void {
    this.#deps.send(encodeClientHello({ AuthToken: '', ...size }))
  }

  resize(size: TerminalSize): void {
    this.#deps.send(encodeJson(ClientType.resize, size))
  }

  /** @throws SyntaxError when it is not a message. */
  receive(bytes: Uint8Array): void {
    const message = decodeServerMessage(bytes)
    if (message.type === 'title' || message.type === 'preferences') this.#attach()
    if (message.type === 'title') this.#deps.title(message.title)
    if (message.type === 'data' && this.#isAttached) this.#write(message.bytes)
  }

  #attach(): void {
    if (this.#isAttached) return
    this.#isAttached = true
    this.#deps.onAttached()
  }

  #write(bytes: Uint8Array): void {
    this.#unparsed += bytes.length
    if (!this.#isPaused && this.#unparsed > PAUSE_ABOVE) {
      this.#isPaused = true
      this.#deps.send(encodeBytes(ClientType.pause, NOTHING))
    }
    this.#deps.write(bytes, () => {
      this.#unparsed -= bytes.length
      if (!this.#isPaused || this.#unparsed > RESUME_BELOW) return
      this.#isPaused = false
      this.#deps.send(encodeBytes(ClientType.resume, NOTHING))
    })
  }
}
