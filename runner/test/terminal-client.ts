import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import {
  type ClientHello,
  ClientType,
  decodeServerMessage,
  encodeBytes,
  encodeClientHello,
  encodeJson,
} from '@cliscale/contract'
import type { Exit, Hello, Resize, ServerMessage, TerminalSize } from '@cliscale/contract'
import { WebSocket } from 'ws'

export interface ClientOptions {
  readonly port: number
  readonly protocols?: readonly string[]
  readonly assertion?: string
  readonly path?: string
  /** Whether DATA is acknowledged at once; true by default for `cliscale.v1`. */
  readonly acks?: boolean
  readonly onMessage?: (message: ServerMessage) => void
}

/** A viewer for tests: keeps what it was sent and puts the output together by offset. */
export class TestViewer {
  readonly ws: WebSocket
  readonly messages: ServerMessage[] = []
  /** Messages as they arrived, for tests of the bytes on the wire. */
  readonly raw: { data: Buffer; isBinary: boolean }[] = []
  hello: Hello | undefined
  exit: Exit | undefined
  closed: { code: number; reason: string } | undefined
  /** Output as it was assembled; a snapshot restarts it from its seq. */
  output: Buffer[] = []
  from = 0
  position = 0
  readonly #options: ClientOptions
  #change: (() => void)[] = []

  constructor(options: ClientOptions) {
    this.#options = options
    const headers = options.assertion === undefined ? {} : { Authorization: `Bearer ${options.assertion}` }
    this.ws = new WebSocket(`ws://127.0.0.1:${options.port}${options.path ?? '/ws'}`, [...(options.protocols ?? [])], {
      headers,
      perMessageDeflate: false,
    })
    this.ws.on('message', (data, isBinary) => this.#onMessage(data as Buffer, isBinary))
    this.ws.on('error', () => {})
    this.ws.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() }
      this.#changed()
    })
  }

  async open(hello?: ClientHello): Promise<this> {
    if (this.ws.readyState === WebSocket.CONNECTING) await once(this.ws, 'open')
    if (hello) this.ws.send(encodeClientHello(hello))
    return this
  }

  type(text: string | Uint8Array): void {
    this.ws.send(encodeBytes(ClientType.input, Buffer.from(text)))
  }
  resize(size: Resize): void {
    this.ws.send(encodeJson(ClientType.resize, size))
  }
  ack(): void {
    if (this.ws.readyState === WebSocket.OPEN) this.ws.send(encodeJson(ClientType.ack, { seq: this.position }))
  }
  sendByte(code: number): void {
    this.ws.send(Uint8Array.of(code))
  }

  /** All output since the last start, as bytes. */
  bytes(): Buffer {
    return Buffer.concat(this.output)
  }
  text(): string {
    return this.bytes().toString()
  }
  sizes(): TerminalSize[] {
    return this.messages.flatMap((m) => (m.type === 'size' ? [m.size] : []))
  }

  /** Resolves when `holds`; rejects with what there is after `limitMs`. */
  async until(holds: () => boolean, what: string, limitMs = 10_000): Promise<void> {
    const end = Date.now() + limitMs
    while (!holds()) {
      const left = end - Date.now()
      if (left <= 0)
        throw new Error(
          `${what}: not within ${limitMs} ms; closed ${JSON.stringify(this.closed)}, last output ${JSON.stringify(this.bytes().subarray(-200).toString())}`,
        )
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(left, 100))
        this.#change.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
  }

  /** Resolves with all output once it contains `text`. */
  async untilText(text: string, limitMs?: number): Promise<string> {
    await this.until(() => this.text().includes(text), `output with ${JSON.stringify(text)}`, limitMs)
    return this.text()
  }
  untilClosed(limitMs?: number): Promise<void> {
    return this.until(() => this.closed !== undefined, 'close', limitMs)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.closed) return
    this.ws.terminate()
    await this.untilClosed()
  }

  #changed(): void {
    for (const resolve of this.#change.splice(0)) resolve()
  }

  #onMessage(data: Buffer, isBinary: boolean): void {
    // Copies: a part of a buffer keeps the whole of it in memory.
    this.raw.push({ data: Buffer.from(data.subarray(0, 256)), isBinary })
    const message = decodeServerMessage(data)
    if (message.type === 'hello') {
      this.hello = message.hello
      if (message.hello.seq !== this.position) this.output = []
      if (message.hello.seq !== this.position || this.output.length === 0) this.from = message.hello.seq
      this.position = message.hello.seq
    } else if (message.type === 'snapshot') {
      this.output = []
      this.from = this.position = message.seq
    } else if (message.type === 'data') {
      this.output.push(message.bytes as Buffer)
      this.position += message.bytes.length
      if ((this.#options.acks ?? true) && this.ws.protocol === 'cliscale.v1') this.ack()
    } else if (message.type === 'exit') this.exit = message.exit
    this.messages.push(
      message.type === 'data' ? { type: 'data', bytes: Buffer.from(message.bytes.subarray(0, 64)) } : message,
    )
    this.#options.onMessage?.(message)
    this.#changed()
  }
}

/** The HTTP answer to an upgrade that is refused: status and body. */
export async function refusedUpgrade(
  options: ClientOptions & { headers?: Record<string, string> },
): Promise<{ status: number; body: string }> {
  const ws = new WebSocket(`ws://127.0.0.1:${options.port}${options.path ?? '/ws'}`, [...(options.protocols ?? [])], {
    headers: {
      ...(options.assertion === undefined ? {} : { Authorization: `Bearer ${options.assertion}` }),
      ...options.headers,
    },
  })
  ws.on('error', () => {})
  const [, response] = (await once(ws, 'unexpected-response')) as [unknown, IncomingMessage]
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  return { status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }
}
