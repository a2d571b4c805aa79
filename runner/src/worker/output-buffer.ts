/** Output that the host has not acknowledged, by absolute offsets. Bytes are never dropped before they are. */
export class OutputBuffer {
  private chunks: Buffer[] = []
  private baseOffset = 0
  private headOffset = 0

  /** Offset of the first byte that is kept. */
  get base(): number {
    return this.baseOffset
  }
  /** Offset behind the last byte. */
  get head(): number {
    return this.headOffset
  }
  get unacknowledged(): number {
    return this.headOffset - this.baseOffset
  }

  append(bytes: Buffer): void {
    if (bytes.length === 0) return
    this.chunks.push(bytes)
    this.headOffset += bytes.length
  }

  /** Drops what lies before `offset`; an offset beyond the head counts as the head. */
  acknowledge(offset: number): void {
    let left = Math.min(offset, this.headOffset) - this.baseOffset
    if (left <= 0) return
    this.baseOffset += left
    let whole = 0
    while (whole < this.chunks.length && left >= this.chunks[whole]!.length) left -= this.chunks[whole++]!.length
    this.chunks.splice(0, whole)
    if (left > 0) this.chunks[0] = this.chunks[0]!.subarray(left)
  }

  /** At most `maxBytes` from `offset` on; empty at the head. Throws RangeError before the base. */
  read(offset: number, maxBytes: number): Buffer {
    if (offset < this.baseOffset) throw new RangeError(`offset ${offset} is no longer kept (base ${this.baseOffset})`)
    const parts: Buffer[] = []
    let skip = offset - this.baseOffset
    let room = maxBytes
    for (const chunk of this.chunks) {
      if (room === 0) break
      if (skip >= chunk.length) {
        skip -= chunk.length
        continue
      }
      const part = chunk.subarray(skip, skip + room)
      parts.push(part)
      room -= part.length
      skip = 0
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts)
  }
}
