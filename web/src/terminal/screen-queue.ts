import type { TerminalSize } from '@cliscale/contract/terminal'
import type { Screen } from '@cliscale/client'

/** What the queue needs of a terminal. `write` is asynchronous, `resize` acts at once. */
export interface TerminalPort {
  readonly size: TerminalSize
  write(bytes: Uint8Array, parsed: () => void): void
  resize(size: TerminalSize): void
}

/** A reset or size without output after it takes effect after this time, in milliseconds. */
const SETTLE_MS = 50
/** RIS as part of the output: the old screen stays until the new one is parsed, so nothing flashes. */
const RESET = '\u001bc'
/** Synchronized output: a snapshot appears all at once. */
const SYNC_BEGIN = '\u001b[?2026h'
const SYNC_END = '\u001b[?2026l'

interface Step {
  readonly size: TerminalSize | undefined
  readonly bytes: Uint8Array
  readonly parsed: () => void
}

/**
 * Passes writes, resets and sizes to a terminal in order. xterm.js parses some time after a write but resizes at once; a
 * size must not overtake bytes that were laid out for the previous one.
 */
export class ScreenQueue implements Pick<Screen, 'reset' | 'write' | 'snapshot' | 'resize'> {
  readonly #port: TerminalPort
  readonly #defer: (callback: () => void, ms: number) => void
  readonly #encoder = new TextEncoder()
  #steps: Step[] = []
  #unparsed = 0
  #reset = false
  #size: TerminalSize | undefined
  #settling = false

  constructor(port: TerminalPort, defer: (callback: () => void, ms: number) => void) {
    this.#port = port
    this.#defer = defer
  }

  /** Whether the terminal has parsed everything. */
  get idle(): boolean {
    return this.#unparsed === 0 && this.#steps.length === 0
  }

  reset(): void {
    this.#reset = true
    this.#settleLater()
  }

  resize(size: TerminalSize): void {
    this.#size = size
    this.#settleLater()
  }

  write(bytes: Uint8Array, parsed: () => void): void {
    const prefix = this.#reset ? RESET : ''
    this.#push(prefix === '' ? bytes : this.#join(prefix, bytes, ''), parsed)
  }

  snapshot(bytes: Uint8Array, parsed: () => void): void {
    this.#push(this.#join(RESET + SYNC_BEGIN, bytes, SYNC_END), parsed)
  }

  #push(bytes: Uint8Array, parsed: () => void): void {
    this.#steps.push({ size: this.#size, bytes, parsed })
    this.#reset = false
    this.#size = undefined
    this.#pump()
  }

  #pump(): void {
    for (let step = this.#steps[0]; step !== undefined; step = this.#steps[0]) {
      const { size, bytes, parsed } = step
      if (size !== undefined && !sameSize(size, this.#port.size)) {
        if (this.#unparsed > 0) return
        this.#port.resize(size)
      }
      this.#steps.shift()
      this.#unparsed += 1
      this.#port.write(bytes, () => {
        this.#unparsed -= 1
        parsed()
        this.#pump()
      })
    }
  }

  #settleLater(): void {
    if (this.#settling) return
    this.#settling = true
    this.#defer(() => {
      this.#settling = false
      if (this.#reset || this.#size !== undefined) this.write(new Uint8Array(0), () => {})
    }, SETTLE_MS)
  }

  #join(head: string, bytes: Uint8Array, tail: string): Uint8Array {
    const before = this.#encoder.encode(head)
    const after = this.#encoder.encode(tail)
    const out = new Uint8Array(before.length + bytes.length + after.length)
    out.set(before)
    out.set(bytes, before.length)
    out.set(after, before.length + bytes.length)
    return out
  }
}

function sameSize(a: TerminalSize, b: TerminalSize): boolean {
  return a.columns === b.columns && a.rows === b.rows
}
