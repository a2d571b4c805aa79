import { packSize, unpackSize } from './journal-format.ts'
import type { Mark } from './journal-reader.ts'

/** A mark is kept for about this many bytes of the file; a reader walks at most so far to find its offset. */
const SPACING_BYTES = 64 * 1024

/** Sparse map from output offset to record: 24 bytes for 64 KiB of file, so 1 GiB takes 400 KiB of memory. */
export class JournalIndex {
  readonly #positions: number[] = []
  readonly #heads: number[] = []
  readonly #sizes: number[] = []

  /** Takes note of a record's start where the last note is far enough behind. Call in order. */
  note(mark: Mark): void {
    const last = this.#positions.at(-1)
    if (last !== undefined && mark.position - last < SPACING_BYTES) return
    this.#positions.push(mark.position)
    this.#heads.push(mark.head)
    this.#sizes.push(packSize(mark.size))
  }

  /** The last noted record that starts at or before an output offset. */
  find(offset: number): Mark | undefined {
    let low = 0
    let high = this.#heads.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#heads[middle] as number) <= offset) low = middle + 1
      else high = middle
    }
    const at = low - 1
    const position = this.#positions[at]
    if (position === undefined) return undefined
    return { position, head: this.#heads[at] as number, size: unpackSize(this.#sizes[at] as number) }
  }
}
