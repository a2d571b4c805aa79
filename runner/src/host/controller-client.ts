import { Pool } from 'undici'

export interface Answer {
  readonly status: number
  readonly text: string
}

export interface Call {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly credential?: string
  readonly json?: unknown
  readonly bytes?: Uint8Array
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

const CALL_LIMIT_MS = 15_000
const MAX_ANSWER_BYTES = 4 * 1024 * 1024

/**
 * HTTP to the controller's internal API, over TCP or a Unix socket. Every call has a deadline; network faults are
 * thrown as they come. The owner closes it.
 */
export class ControllerClient implements AsyncDisposable {
  private readonly pool: Pool

  /** @param url `http://host:port` or `unix:/path`. */
  constructor(url: string) {
    const socketPath = url.startsWith('unix:') ? url.slice('unix:'.length) : undefined
    const origin = socketPath === undefined ? new URL(url).origin : 'http://localhost'
    this.pool = new Pool(origin, {
      connections: 8,
      connect: { timeout: 5000, ...(socketPath === undefined ? {} : { socketPath }) },
      headersTimeout: CALL_LIMIT_MS,
      bodyTimeout: CALL_LIMIT_MS,
    })
  }

  async call(call: Call): Promise<Answer> {
    const limit = AbortSignal.timeout(CALL_LIMIT_MS)
    const body = call.json === undefined ? call.bytes : JSON.stringify(call.json)
    const response = await this.pool.request({
      method: call.method,
      path: call.path,
      headers: {
        ...(call.credential === undefined ? {} : { authorization: `Bearer ${call.credential}` }),
        ...(body === undefined ? {} : { 'content-type': call.json ? 'application/json' : 'application/octet-stream' }),
        ...call.headers,
      },
      body: body ?? null,
      signal: call.signal === undefined ? limit : AbortSignal.any([limit, call.signal]),
    })
    return { status: response.statusCode, text: await readAll(response.body) }
  }

  /**
   * The lines of an answer that stays open. Ends when the server ends it; throws when nothing was heard for
   * `silenceMs`, or on a status other than 200 (a `StatusError`).
   */
  async *lines(call: Call & { readonly silenceMs: number }): AsyncGenerator<string> {
    const response = await this.pool.request({
      method: call.method,
      path: call.path,
      headers: { authorization: `Bearer ${call.credential}` },
      bodyTimeout: call.silenceMs,
      headersTimeout: call.silenceMs,
      ...(call.signal === undefined ? {} : { signal: call.signal }),
    })
    if (response.statusCode !== 200) {
      await response.body.dump()
      throw new StatusError(response.statusCode)
    }
    let rest = ''
    response.body.setEncoding('utf8')
    for await (const chunk of response.body) {
      rest += chunk as string
      if (rest.length > MAX_ANSWER_BYTES) throw new Error('a line of the controller is too long')
      const lines = rest.split('\n')
      rest = lines.pop()!
      yield* lines.filter((line) => line !== '')
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pool.destroy()
  }
}

export class StatusError extends Error {
  readonly status: number
  constructor(status: number) {
    super(`the controller answered ${status}`)
    this.name = 'StatusError'
    this.status = status
  }
}

async function readAll(body: AsyncIterable<Buffer>): Promise<string> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of body) {
    bytes += part.length
    if (bytes > MAX_ANSWER_BYTES) throw new Error('the answer of the controller is too long')
    parts.push(part)
  }
  return Buffer.concat(parts).toString()
}
