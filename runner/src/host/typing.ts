import type { InputProgress } from '@cliscale/contract'
import type { TypedPiece } from '../relay/frames.ts'
import type { TypedProgress } from '../relay/messages.ts'

/** What may wait in all, however many viewers left input behind; nobody is read on beyond. */
const MAX_OPEN_BYTES = 2 * 1024 * 1024

/** As many streams are remembered; of those that came to their end the oldest is forgotten first. */
const MAX_STREAMS = 256

/** Where what viewers type goes on to. */
export interface TypedReceiver {
  typed(piece: TypedPiece): void
}

interface Stream {
  received: number
  taken: number
  dropped: number
  isLineCut: boolean
  /** What work has not confirmed. */
  pieces: TypedPiece[]
}

/**
 * What viewers type, on its way to work. It is kept here until work has it, so that a connection to work that is not
 * there yet, or breaks, loses none of it; from then on work keeps it, also over a new life of this process. What ends
 * with this process is what work had not received: a viewer that knows PROGRESS sends that again.
 */
export class Typing {
  private readonly streams = new Map<string, Stream>()
  private listener: (stream: string) => void = () => {}
  private receiver: TypedReceiver | undefined
  private known: boolean
  private openBytes = 0

  /** `isFirstLife`: no earlier life of this process can have given work anything. */
  constructor({ isFirstLife }: { readonly isFirstLife: boolean }) {
    this.known = isFirstLife
  }

  /** Calls `listener` when the progress of a stream changed or became known. */
  watch(listener: (stream: string) => void): void {
    this.listener = listener
  }

  /** How far a stream came; undefined while only work knows and is not reached. */
  progress(stream: string): InputProgress | undefined {
    const found = this.streams.get(stream)
    if (found !== undefined) return { received: found.received, taken: found.taken }
    return this.known ? { received: 0, taken: 0 } : undefined
  }

  /** As `progress`, with what was dropped or cut since this was last asked. */
  takeProgress(stream: string): InputProgress | undefined {
    const progress = this.progress(stream)
    const found = this.streams.get(stream)
    if (progress === undefined || found === undefined) return progress
    const { dropped, isLineCut } = found
    found.dropped = 0
    found.isLineCut = false
    return { ...progress, ...(dropped > 0 && { dropped }), ...(isLineCut && { isLineCut }) }
  }

  /** Whether so much waits that nothing more should be read of any viewer. */
  get isFull(): boolean {
    return this.openBytes > MAX_OPEN_BYTES
  }

  /** Takes what is new of it; a piece that leaves a gap is not taken, and its sender learns how far it is. */
  push(piece: TypedPiece): void {
    const stream = this.streamOf(piece.stream, piece.at)
    const end = piece.at + piece.bytes.length
    if (piece.ahead ? piece.at < stream.received : piece.at > stream.received || end <= stream.received)
      return this.listener(piece.stream)
    // A copy: what came is a part of a larger read buffer.
    const skip = piece.ahead ? 0 : stream.received - piece.at
    const own = { ...piece, at: piece.at + skip, bytes: Buffer.from(piece.bytes.subarray(skip)) }
    if (piece.ahead) stream.pieces = stream.pieces.filter(({ ahead }) => !ahead)
    else this.change(stream, () => (stream.received = end))
    stream.pieces.push(own)
    this.receiver?.typed(own)
    this.listener(piece.stream)
  }

  /** Work is reached: it has told how far it has each stream, and gets the rest. */
  connect(receiver: TypedReceiver, progress: readonly TypedProgress[]): void {
    this.known = true
    this.receiver = receiver
    for (const each of progress) this.learn(each)
    const waiting = [...this.streams.values()].flatMap(({ pieces }) => pieces)
    for (const piece of waiting) receiver.typed(piece)
    for (const id of this.streams.keys()) this.listener(id)
  }

  disconnect(): void {
    this.receiver = undefined
  }

  /** What work tells of a stream. */
  onProgress(progress: TypedProgress): void {
    this.learn(progress)
    this.listener(progress.stream)
  }

  private learn({ stream: id, received, taken, dropped, isLineCut }: TypedProgress): void {
    const stream = this.streamOf(id, taken)
    stream.pieces = stream.pieces.filter(({ at, bytes }) => at + bytes.length > received)
    this.change(stream, () => {
      stream.received = Math.max(stream.received, received)
      stream.taken = Math.min(Math.max(stream.taken, taken), stream.received)
      stream.dropped += dropped
      stream.isLineCut ||= isLineCut
    })
  }

  /** The one of that name, as the latest. */
  private streamOf(id: string, at: number): Stream {
    const stream = this.streams.get(id) ?? { received: at, taken: at, dropped: 0, isLineCut: false, pieces: [] }
    this.streams.delete(id)
    for (const [name, old] of this.streams) {
      if (this.streams.size < MAX_STREAMS) break
      if (old.taken === old.received) this.streams.delete(name)
    }
    this.streams.set(id, stream)
    return stream
  }

  private change(stream: Stream, change: () => void): void {
    const before = stream.received - stream.taken
    change()
    this.openBytes += stream.received - stream.taken - before
  }
}
