import type { Socket } from 'node:net'
import { decodeTyped, encodeOutput, FrameDecoder, FrameType, type TypedPiece } from '../relay/frames.ts'
import { decodeHostMessage, encodeMessage, type HostMessage, type WorkMessage } from '../relay/messages.ts'
import type { OutputBuffer } from './output-buffer.ts'

const OUTPUT_FRAME_BYTES = 64 * 1024

export interface HostConnectionEvents {
  readonly onMessage: (message: HostMessage, connection: HostConnection) => void
  readonly onAnswer: (bytes: Buffer) => void
  readonly onTyped: (piece: TypedPiece) => void
  readonly onClose: () => void
}

/** One connection of a host: decodes what it says, and sends it the output as fast as it reads. */
export class HostConnection {
  private readonly socket: Socket
  private readonly decoder = new FrameDecoder()
  /** Offset of the next output byte to send; undefined until the host was welcomed. */
  private next: number | undefined
  private blocked = false

  constructor(socket: Socket, events: HostConnectionEvents) {
    this.socket = socket
    socket.on('error', () => {}) // 'close' follows
    socket.on('close', () => events.onClose())
    socket.on('drain', () => (this.blocked = false))
    socket.on('data', (chunk) => {
      try {
        for (const frame of this.decoder.push(chunk as Buffer)) {
          if (frame.type === FrameType.json) events.onMessage(decodeHostMessage(frame.body), this)
          else if (this.next === undefined)
            continue // it has not shown the secret
          else if (frame.type === FrameType.input) events.onAnswer(frame.body)
          else if (frame.type === FrameType.typed) events.onTyped(decodeTyped(frame.body))
        }
      } catch {
        this.close() // not our protocol; a host that is ours connects again
      }
    })
  }

  /** Runs `pump` each time that the socket takes bytes again. */
  onDrain(pump: () => void): void {
    this.socket.on('drain', pump)
  }

  /** From here on output is sent, starting at `offset`. */
  startOutput(offset: number): void {
    this.next = offset
  }

  send(message: WorkMessage): void {
    if (!this.socket.destroyed) this.socket.write(encodeMessage(message))
  }

  /** Sends what the socket takes of the output. Returns whether all of it was sent. */
  sendOutput(buffer: OutputBuffer): boolean {
    if (this.next === undefined || this.socket.destroyed) return false
    while (!this.blocked && this.next < buffer.head) {
      const bytes = buffer.read(this.next, OUTPUT_FRAME_BYTES)
      this.blocked = !this.socket.write(encodeOutput(this.next, bytes))
      this.next += bytes.length
    }
    return this.next === buffer.head
  }

  close(): void {
    this.socket.destroy()
  }

  /** Closes it after what was written is sent. */
  end(): void {
    this.socket.end()
  }
}
