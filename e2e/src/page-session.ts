import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import {
  encodeBytes,
  encodeJson,
  encodeSnapshot,
  type ClientHello,
  type Exit,
  type Mode,
  type Resize,
  ServerType,
  type StatusMessage,
  type TerminalColours,
  type TerminalSize,
  VIEWER_WINDOW_BYTES,
} from '@cliscale/contract/terminal'

interface Attached {
  readonly ws: WebSocket
  readonly socket: Socket
  readonly viewer: string
  /** Undefined until ClientHello came. */
  sent: number | undefined
  acked: number
}

const CHUNK_BYTES = 32 * 1024

/** The session's side of `cliscale.v1`, driven by a test: it keeps its output and remembers all that viewers send. */
export class PageSession {
  readonly id = randomUUID()
  /** Unused tokens with the mode they give. */
  readonly tokens = new Map<string, Mode | 'used'>()
  readonly viewers = new Map<string, Mode>()
  readonly hellos: ClientHello[] = []
  readonly resizes: Resize[] = []
  /** What viewers said that they show, in order. */
  readonly colours: (TerminalColours | undefined)[] = []
  readonly acks: number[] = []
  epoch: string = randomUUID()
  input = Buffer.alloc(0)
  output = Buffer.alloc(0)
  size: TerminalSize = { columns: 100, rows: 30 }
  /** Whether RESIZE changes the size, as for the viewer that drives. */
  follows = true
  /** While true viewers get STATUS but no HELLO. */
  waiting = false
  status: StatusMessage | undefined
  exit: Exit | undefined
  /** Output before this offset is not kept: who asks for it gets a snapshot of the rest. */
  snapshotFrom = 0
  /** Bytes that are made up as they are read, for floods; they follow `output`. */
  flood: Buffer | undefined
  floodSent = 0
  readonly #attached = new Set<Attached>()

  get attachedCount(): number {
    return this.#attached.size
  }

  newLink(origin: string, mode: Mode = 'rw'): string {
    const token = randomUUID()
    this.tokens.set(token, mode)
    return `${origin}/ws/${this.id}?token=${token}`
  }

  /** The viewer that a Cookie header proves; `asked` chooses among several. */
  viewerOfCookie(cookie: string | undefined, asked: string | null): string | undefined {
    const held = [...(cookie ?? '').matchAll(/cs_([0-9a-f-]{36})=secret/g)].map(([, viewer]) => viewer ?? '')
    return held.find((viewer) => this.viewers.has(viewer) && (asked === null || asked === viewer))
  }

  attach(ws: WebSocket, socket: Socket, viewer: string): void {
    const attached: Attached = { ws, socket, viewer, sent: undefined, acked: 0 }
    this.#attached.add(attached)
    ws.on('error', () => {})
    ws.on('close', () => this.#attached.delete(attached))
    ws.on('message', (data: Buffer) => this.#onMessage(attached, data))
    if (this.status !== undefined) ws.send(encodeJson(ServerType.status, this.status))
  }

  /** Appends output and sends it to whoever has room. */
  print(data: string | Buffer): void {
    this.output = Buffer.concat([this.output, Buffer.from(data)])
    this.#pump()
  }

  setStatus(status: Partial<StatusMessage> & Pick<StatusMessage, 'status'>): void {
    this.status = { stage: null, since: new Date().toISOString(), reason: null, hint: null, ...status }
    this.#broadcast(encodeJson(ServerType.status, this.status))
  }

  /** Lets viewers in that wait for a HELLO. */
  open(): void {
    this.waiting = false
    for (const attached of this.#attached) if (this.hellos.length > 0) this.#greet(attached, this.hellos.at(-1) ?? {})
  }

  end(exit: Partial<Exit> & Pick<Exit, 'status'>): void {
    const rest = { reason: null, detail: null, hint: null, exitCode: null, signal: null, durationMs: 4321 }
    this.exit = { ...rest, ...exit }
    for (const attached of this.#attached) this.#sendExit(attached)
  }

  title(text: string): void {
    this.#broadcast(encodeBytes(ServerType.title, Buffer.from(text)))
  }

  resize(size: TerminalSize): void {
    this.size = size
    this.#broadcast(encodeJson(ServerType.size, size))
  }

  heartbeat(): void {
    this.#broadcast(encodeBytes(ServerType.heartbeat, Buffer.alloc(0)))
  }

  /** Says whether a viewer's window decides the size. */
  setDriver(drives: boolean): void {
    this.#broadcast(encodeJson(ServerType.driver, { drives }))
  }

  /** Cuts the connections as a lost network does: no close frame. */
  cut(): void {
    for (const { socket } of this.#attached) socket.resetAndDestroy()
  }

  close(code: number): void {
    for (const { ws } of this.#attached) ws.close(code)
  }

  #broadcast(message: Uint8Array): void {
    for (const { ws } of this.#attached) ws.send(message)
  }

  #onMessage(attached: Attached, data: Buffer): void {
    const body = data.subarray(1)
    switch (data[0]) {
      case 0x7b: {
        const hello = JSON.parse(data.toString()) as ClientHello
        this.hellos.push(hello)
        this.colours.push(hello.colours)
        if (!this.waiting) this.#greet(attached, hello)
        return
      }
      case 0x30:
        this.input = Buffer.concat([this.input, body])
        return
      case 0x31:
        return this.#onResize(JSON.parse(body.toString()) as Resize)
      case 0x34: {
        const { seq } = JSON.parse(body.toString()) as { seq: number }
        this.acks.push(seq)
        attached.acked = seq
        return this.#pump()
      }
    }
  }

  #onResize(resize: Resize): void {
    if (resize.colours !== undefined) this.colours.push(resize.colours)
    const { columns, rows } = resize
    if (columns === undefined || rows === undefined) return
    this.resizes.push(resize)
    if (this.follows) this.resize({ columns, rows })
  }

  #greet(attached: Attached, hello: ClientHello): void {
    const { ws } = attached
    if (this.follows && hello.columns !== undefined && hello.rows !== undefined && attached.sent === undefined) {
      this.size = { columns: hello.columns, rows: hello.rows }
    }
    const goesOn = hello.epoch === this.epoch && (hello.have ?? -1) >= this.snapshotFrom
    const seq = goesOn ? (hello.have ?? 0) : 0
    const role = this.viewers.get(attached.viewer) ?? 'ro'
    ws.send(
      encodeJson(ServerType.hello, {
        epoch: this.epoch,
        seq,
        ...this.size,
        role,
        viewer: attached.viewer,
        heartbeatMs: 60_000,
      }),
    )
    attached.sent = seq
    attached.acked = seq
    if (!goesOn && this.snapshotFrom > 0) {
      ws.send(encodeSnapshot(this.output.length, this.output.subarray(this.snapshotFrom)))
      attached.sent = attached.acked = this.output.length
    }
    this.#pump()
    if (this.exit !== undefined) this.#sendExit(attached)
  }

  #pump(): void {
    for (const attached of this.#attached) this.#fill(attached)
  }

  #fill(attached: Attached): void {
    if (attached.sent === undefined) return
    while (attached.sent - attached.acked < VIEWER_WINDOW_BYTES) {
      const room = Math.min(CHUNK_BYTES, VIEWER_WINDOW_BYTES - (attached.sent - attached.acked))
      const chunk = this.#read(attached.sent, room)
      if (chunk.length === 0) return
      attached.ws.send(encodeBytes(ServerType.data, chunk))
      attached.sent += chunk.length
    }
  }

  #read(from: number, maxBytes: number): Buffer {
    if (from < this.output.length) return this.output.subarray(from, Math.min(this.output.length, from + maxBytes))
    if (this.flood === undefined) return Buffer.alloc(0)
    this.floodSent = Math.max(this.floodSent, from - this.output.length + maxBytes)
    const at = (from - this.output.length) % this.flood.length
    return this.flood.subarray(at, Math.min(this.flood.length, at + maxBytes))
  }

  #sendExit({ ws, sent }: Attached): void {
    if (sent === undefined || this.exit === undefined) return
    ws.send(encodeJson(ServerType.exit, this.exit))
    ws.close(1000)
  }
}
