import { ACK_EVERY_BYTES, type Hello } from '@cliscale/contract/terminal'

/**
 * Where this viewer is in the session's output, in bytes from 0: what it has received (sent as `have` after a drop) and
 * what its terminal has processed (acknowledged). A new epoch or a jump starts a new generation, so that a late callback
 * for earlier bytes cannot change the new count.
 */
export class Position {
  #epoch: string | undefined
  #received = 0
  #parsed = 0
  #acked = 0
  #generation = 0

  get offset(): number {
    return this.#received
  }

  /** What ClientHello asks for; undefined before the first HELLO. */
  get resume(): { readonly epoch: string; readonly have: number } | undefined {
    return this.#epoch === undefined ? undefined : { epoch: this.#epoch, have: this.#received }
  }

  /** Adopts the server's position. True when the terminal must be reset: it does not show the output before `seq`. */
  hello({ epoch, seq }: Pick<Hello, 'epoch' | 'seq'>): boolean {
    const fresh = this.#epoch === undefined && seq === 0
    const goesOn = this.#epoch === epoch && this.#received === seq
    if (goesOn) return false
    this.#epoch = epoch
    this.#jump(seq)
    return !fresh
  }

  /** Counts received bytes. Pass the result to `parsed` once they are processed. */
  received(length: number): Mark {
    this.#received += length
    return { generation: this.#generation, end: this.#received }
  }

  /** A snapshot stands for everything up to `seq`. */
  snapshot(seq: number): Mark {
    this.#jump(seq)
    // It needs no acknowledgement of its own, so all three counts start there.
    return { generation: this.#generation, end: seq }
  }

  /** Marks bytes as processed. True when so much is unacknowledged that it must be acknowledged now. */
  parsed(mark: Mark): boolean {
    if (mark.generation !== this.#generation) return false
    this.#parsed = Math.max(this.#parsed, mark.end)
    return this.#parsed - this.#acked >= ACK_EVERY_BYTES
  }

  /** The offset to acknowledge, or undefined when there is nothing new. */
  takeAck(): number | undefined {
    if (this.#parsed <= this.#acked) return undefined
    this.#acked = this.#parsed
    return this.#parsed
  }

  #jump(seq: number): void {
    this.#generation += 1
    this.#received = seq
    this.#parsed = seq
    this.#acked = seq
  }
}

/** Names the end of a piece of output within one generation of offsets. */
export interface Mark {
  readonly generation: number
  readonly end: number
}
