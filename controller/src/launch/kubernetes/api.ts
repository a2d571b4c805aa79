import http from 'node:http'
import https from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import type { KubeConfig } from '@kubernetes/client-node'
import { LauncherUnavailable } from '../launcher.ts'

/** An answer of the API server that is a refusal. `message` is the server's own sentence. */
export class ApiRefusal extends Error {
  override readonly name = 'ApiRefusal'
  readonly status: number
  /** The machine-readable word of the Status object, such as `AlreadyExists`. */
  readonly reason: string
  readonly retryAfterMs: number | undefined

  constructor(status: number, body: unknown, retryAfter: string | undefined) {
    const { message, reason } = (body ?? {}) as { message?: unknown; reason?: unknown }
    super(typeof message === 'string' ? message.slice(0, 500) : `the API server answered ${status}`)
    this.status = status
    this.reason = typeof reason === 'string' ? reason : ''
    const seconds = Number(retryAfter)
    if (retryAfter !== undefined && Number.isFinite(seconds))
      this.retryAfterMs = Math.min(Math.max(seconds, 0), 60) * 1000
  }
}

export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  readonly body?: unknown
}

/** The API server, as far as a launcher needs it. The caller closes it. */
export interface KubernetesApi {
  /**
   * The answer's JSON.
   *
   * @throws ApiRefusal when the server refuses for good.
   * @throws LauncherUnavailable when it does not answer in time, is overloaded or asks to wait. `cause` tells why.
   */
  call(request: ApiRequest): Promise<unknown>
  /** An answer that goes on, as soon as it begins. Throws as `call` does. `signal` ends it. */
  open(request: ApiRequest, signal: AbortSignal): Promise<http.IncomingMessage>
  close(): void
}

/** What an answer may hold; a page of 500 pods is 10 MB at the very most. */
const MAX_ANSWER_BYTES = 128 * 2 ** 20

/**
 * Calls over `node:https`, with what the kubeconfig says about address, certificates and credentials. The generated
 * clients are not used: they make a new connection with its TLS handshake for each call (client-node 2.0.1,
 * `KubeConfig.createDispatcher`), know no deadline, and turn every list into classes.
 */
export function createKubernetesApi(config: KubeConfig, { deadlineMs = 10_000 } = {}): KubernetesApi {
  return new HttpApi(config, deadlineMs)
}

interface Credentials {
  readonly headers: http.OutgoingHttpHeaders
  readonly tls: https.AgentOptions
}

class HttpApi implements KubernetesApi {
  readonly #config: KubeConfig
  readonly #deadlineMs: number
  readonly #server: URL
  #agent: http.Agent | undefined
  /** Which certificates the agent was made with. */
  #agentKey = ''

  constructor(config: KubeConfig, deadlineMs: number) {
    this.#config = config
    this.#deadlineMs = deadlineMs
    const server = config.getCurrentCluster()?.server
    if (server === undefined || !URL.canParse(server))
      throw new TypeError('no cluster is named: there is neither a kubeconfig with one nor a pod’s own')
    this.#server = new URL(server)
  }

  async call(request: ApiRequest): Promise<unknown> {
    const signal = AbortSignal.timeout(this.#deadlineMs)
    try {
      const credentials = await this.#credentials()
      return await this.#read(await this.#send(request, { ...credentials, signal, agent: this.#agentFor(credentials) }))
    } catch (err) {
      // Connections of a server that went away without a word would take a deadline each.
      if (signal.aborted) this.#dropIdle()
      throw unavailable(err)
    }
  }

  async open(request: ApiRequest, signal: AbortSignal): Promise<http.IncomingMessage> {
    const opening = new AbortController()
    const timer = setTimeout(() => opening.abort(), this.#deadlineMs)
    try {
      const { headers, tls } = await this.#credentials()
      const agent = this.#isTls() ? new https.Agent(tls) : new http.Agent()
      const both = AbortSignal.any([signal, opening.signal])
      const response = await this.#send(request, { headers, agent, signal: both })
      response.socket.setKeepAlive(true, 30_000)
      if (response.statusCode === 200) return response
      // Reads the refusal, and throws it.
      await this.#read(response)
      throw new Error(`the API server answered ${response.statusCode}`)
    } catch (err) {
      throw unavailable(err)
    } finally {
      clearTimeout(timer)
    }
  }

  close(): void {
    this.#agent?.destroy()
  }

  /** Read anew for each call: token and certificates are renewed on disk. */
  async #credentials(): Promise<Credentials> {
    const found: https.RequestOptions = {}
    await this.#config.applyToHTTPSOptions(found)
    const { ca, cert, key, pfx, passphrase, servername, rejectUnauthorized, auth } = found
    const headers: http.OutgoingHttpHeaders = { ...(found.headers as http.OutgoingHttpHeaders) }
    if (auth) headers['authorization'] = `Basic ${Buffer.from(auth).toString('base64')}`
    const tls = Object.fromEntries(
      Object.entries({ ca, cert, key, pfx, passphrase, servername, rejectUnauthorized }).filter(([, value]) => value),
    )
    if (rejectUnauthorized === false) tls['rejectUnauthorized'] = false
    return { headers, tls }
  }

  #isTls(): boolean {
    return this.#server.protocol === 'https:'
  }

  #agentFor({ tls }: Credentials): http.Agent {
    const key = Object.values(tls).map(String).join('\n')
    if (this.#agent !== undefined && this.#agentKey === key) return this.#agent
    this.#agent?.destroy()
    const options = { keepAlive: true, keepAliveMsecs: 30_000, maxSockets: 16, maxFreeSockets: 4 }
    this.#agentKey = key
    this.#agent = this.#isTls() ? new https.Agent({ ...options, ...tls }) : new http.Agent(options)
    return this.#agent
  }

  #dropIdle(): void {
    for (const sockets of Object.values(this.#agent?.freeSockets ?? {}))
      for (const socket of sockets ?? []) socket.destroy()
  }

  async #send(request: ApiRequest, options: SendOptions): Promise<http.IncomingMessage> {
    try {
      return await this.#sendOnce(request, options)
    } catch (err) {
      // The server closed an idle connection as we took it. Every call of ours may be repeated.
      if (!(err instanceof Error) || !('onReused' in err) || options.signal.aborted) throw err
      await sleep(10)
      return this.#sendOnce(request, options)
    }
  }

  #sendOnce(
    { method, path, query, body }: ApiRequest,
    { headers, agent, signal }: SendOptions,
  ): Promise<http.IncomingMessage> {
    const url = new URL(this.#server.href.replace(/\/$/, '') + path)
    for (const [name, value] of Object.entries(query ?? {})) url.searchParams.set(name, value)
    const payload = body === undefined ? undefined : JSON.stringify(body)
    const options: https.RequestOptions = {
      method,
      agent,
      signal,
      headers: {
        accept: 'application/json',
        'user-agent': 'cliscale-controller',
        ...headers,
        ...(payload !== undefined && {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(payload),
        }),
      },
    }
    return new Promise((resolve, reject) => {
      const sent = this.#isTls() ? https.request(url, options) : http.request(url, options)
      sent.on('response', resolve)
      sent.on('error', (err: NodeJS.ErrnoException) =>
        reject(sent.reusedSocket && err.code === 'ECONNRESET' ? Object.assign(err, { onReused: true }) : err),
      )
      sent.end(payload)
    })
  }

  async #read(response: http.IncomingMessage): Promise<unknown> {
    const chunks: Buffer[] = []
    let bytes = 0
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > MAX_ANSWER_BYTES) throw new Error('the API server’s answer is too long')
      chunks.push(chunk)
    }
    const text = Buffer.concat(chunks).toString('utf8')
    const status = response.statusCode ?? 0
    if (status >= 200 && status < 300) return JSON.parse(text)
    throw new ApiRefusal(status, parseOrUndefined(text), response.headers['retry-after'])
  }
}

interface SendOptions {
  readonly headers: http.OutgoingHttpHeaders
  readonly agent: http.Agent
  readonly signal: AbortSignal
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** 401: a token that was renewed on disk is not read yet. The others say so themselves. */
const TRANSIENT = [401, 408, 425, 429]

function unavailable(err: unknown): Error {
  if (err instanceof LauncherUnavailable) return err
  if (err instanceof ApiRefusal) {
    if (err.status < 500 && !TRANSIENT.includes(err.status)) return err
    return new LauncherUnavailable(`the API server answered ${err.status}: ${err.message}`, { cause: err })
  }
  const { code, name } = err as NodeJS.ErrnoException
  const why =
    name === 'TimeoutError' || name === 'AbortError' ? 'it did not answer in time' : (code ?? 'the connection broke')
  return new LauncherUnavailable(`the API server could not be reached: ${why}`, { cause: err })
}

/** How long the server asked to wait, if that is what stopped the call. */
export function askedToWaitMs(err: unknown): number | undefined {
  const cause = err instanceof LauncherUnavailable ? err.cause : err
  return cause instanceof ApiRefusal ? cause.retryAfterMs : undefined
}
