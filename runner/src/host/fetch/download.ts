/** Downloads one file over https, hop by hop, into a file on disk, and takes its SHA-256 on the way. */
import { createHash } from 'node:crypto'
import { closeSync, openSync, writeFileSync } from 'node:fs'
import type { Readable } from 'node:stream'
import type { FetchPolicy } from '@cliscale/contract'
import { bareHost, checkFetchTarget, displayUrl } from '@cliscale/contract/code-url'
import { isAppError } from '@cliscale/contract/errors'
import { Agent, buildConnector, type Dispatcher, request } from 'undici'
import { SessionFailure } from '../failure.ts'
import { checkedLookup, type Resolve } from './dial.ts'
import { explainNetworkError, explainStatus } from './http-errors.ts'
import { formatBytes, type FetchLimits } from './limits.ts'
import { printable } from './refusal.ts'

/**
 * More than a body can be, so that undici never pauses it: when a server closes while it is paused, undici 7 ends the
 * process by an assertion (https://github.com/nodejs/undici/issues/5360; its fix needs Node 22). Bodies are taken as
 * they come instead, each chunk within the event that brings it, and little is ever buffered.
 */
const BODY_BUFFER_BYTES = Number.MAX_SAFE_INTEGER

export interface DownloadOptions {
  readonly policy: FetchPolicy
  readonly limits: FetchLimits
  readonly resolve: Resolve
  /** Certificates to trust (PEM) instead of the built-in ones. */
  readonly ca?: string
  readonly signal: AbortSignal
  /** What all requests of one fetch received, a second try included: limits.downloadBytes bounds it. */
  readonly received: { bytes: number }
  /** A better explanation of an HTTP status than the general one. */
  readonly onStatus?: (status: number) => SessionFailure | undefined
}

export interface Download {
  readonly bytes: number
  readonly sha256: string
  /** Media type that the server named, in lower case, without parameters; '' when it named none. */
  readonly contentType: string
  /** Content-Encoding that the server named, in lower case; '' when none. The bytes are as they came, encoded. */
  readonly contentEncoding: string
}

/**
 * Downloads `url` to `file`.
 * @throws SessionFailure `bad_code_url`, `code_host_refused`, `download_failed`, `download_timeout`, `code_too_large`,
 * `auth_required`
 */
export async function download(url: URL, file: string, options: DownloadOptions): Promise<Download> {
  await using response = await openResponse(url, { method: 'GET' }, options)
  const { limits } = options
  const announced = Number(response.headers['content-length'] ?? Number.NaN)
  const earlier = options.received.bytes
  if (announced + earlier > limits.downloadBytes) throw tooLarge(announced, earlier, limits)
  const descriptor = openSync(file, 'wx', 0o600)
  try {
    const hash = createHash('sha256')
    let bytes = 0
    await readBody(response, options, (chunk) => {
      bytes += chunk.length
      options.received.bytes += chunk.length
      if (options.received.bytes > limits.downloadBytes) throw tooLarge(undefined, earlier, limits)
      hash.update(chunk)
      // At once, so that nothing piles up in memory: see BODY_BUFFER_BYTES.
      writeFileSync(descriptor, chunk)
    })
    const contentType = ((singleHeader(response.headers['content-type']) ?? '').split(';')[0] ?? '')
      .trim()
      .toLowerCase()
    const contentEncoding = (singleHeader(response.headers['content-encoding']) ?? '').trim().toLowerCase()
    return { bytes, sha256: hash.digest('hex'), contentType, contentEncoding }
  } finally {
    closeSync(descriptor)
  }
}

/** A small answer as bytes, at most `maxBytes`. @throws as `download` */
export async function downloadSmall(
  url: URL,
  init: RequestInit,
  maxBytes: number,
  options: DownloadOptions,
): Promise<Buffer> {
  await using response = await openResponse(url, init, options)
  const chunks: Buffer[] = []
  let bytes = 0
  await readBody(response, options, (chunk) => {
    bytes += chunk.length
    if (bytes > maxBytes)
      throw new SessionFailure('code_too_large', `${response.host} sent more than ${formatBytes(maxBytes)}.`)
    chunks.push(chunk)
  })
  return Buffer.concat(chunks)
}

interface RequestInit {
  readonly method: 'GET' | 'POST'
  readonly headers?: Record<string, string>
  readonly body?: Buffer
}

interface Response extends AsyncDisposable {
  readonly headers: Dispatcher.ResponseData['headers']
  readonly body: Readable
  readonly host: string
}

/** Follows redirects and gives the first 200 or 203 (the same by way of a proxy); each hop is checked like the first URL and sent no credentials. */
async function openResponse(url: URL, init: RequestInit, options: DownloadOptions): Promise<Response> {
  let current = url
  for (let hop = 0; ; hop += 1) {
    checkTarget(current, hop, options.policy)
    const agent = createAgent(current, options)
    try {
      const response = await request(current, {
        ...init,
        headers: { 'user-agent': 'cliscale', accept: '*/*', 'accept-encoding': 'identity', ...init.headers },
        dispatcher: agent,
        signal: options.signal,
        highWaterMark: BODY_BUFFER_BYTES,
      })
      // A body that is destroyed early reports an abort to nobody.
      response.body.on('error', () => {})
      if (response.statusCode === 200 || response.statusCode === 203)
        return {
          headers: response.headers,
          body: response.body,
          host: bareHost(current),
          [Symbol.asyncDispose]: () => agent.destroy(),
        }
      const next = redirectTarget(response, current)
      if (next === undefined) throw explainStatus(response, current, options.onStatus)
      if (hop >= options.limits.redirects)
        throw new SessionFailure(
          'download_failed',
          `${printable(displayUrl(url))} redirects more than ${options.limits.redirects} times. Use the address it leads to.`,
        )
      current = next
      await agent.destroy()
    } catch (error) {
      await agent.destroy()
      throw explainNetworkError(error, current, options.signal)
    }
  }
}

function createAgent(url: URL, options: DownloadOptions): Agent {
  return new Agent({
    connect: buildConnector({
      timeout: options.limits.connectMs,
      lookup: checkedLookup(url, options.policy, options.resolve),
      ...(options.ca === undefined ? {} : { ca: options.ca }),
    }),
    headersTimeout: options.limits.headersMs,
    // Slow bodies are ended by readBody, which also sees bytes that trickle.
    bodyTimeout: 0,
    maxHeaderSize: 32 * 1024,
    pipelining: 0,
  })
}

function checkTarget(url: URL, hop: number, policy: FetchPolicy): void {
  try {
    checkFetchTarget(url, policy)
  } catch (error) {
    if (!isAppError(error)) throw error
    const reason = error.code === 'url_host' ? 'code_host_refused' : 'bad_code_url'
    const detail = hop === 0 ? error.detail : `Redirect ${hop} of code_url is refused: ${error.detail}`
    throw new SessionFailure(hop === 0 ? reason : 'code_host_refused', detail)
  }
}

function redirectTarget(response: Dispatcher.ResponseData, from: URL): URL | undefined {
  if (![301, 302, 303, 307, 308].includes(response.statusCode)) return undefined
  const location = response.headers['location']
  if (typeof location !== 'string') return undefined
  try {
    return new URL(location, from)
  } catch {
    throw new SessionFailure('download_failed', `${bareHost(from)} redirects to an address that cannot be read.`)
  }
}

/** Reads a body to its end; too slow, too late or cut off is an error, and so is what `onChunk` throws. */
async function readBody(response: Response, options: DownloadOptions, onChunk: (chunk: Buffer) => void): Promise<void> {
  const { limits, signal } = options
  let inWindow = 0
  let bytes = 0
  const slow = new AbortController()
  const timer = setInterval(() => {
    if (inWindow < limits.stallBytes) slow.abort()
    inWindow = 0
  }, limits.stallMs)
  slow.signal.addEventListener('abort', () => response.body.destroy(), { once: true })
  try {
    await consume(response.body, (chunk) => {
      inWindow += chunk.length
      bytes += chunk.length
      onChunk(chunk)
    })
  } catch (error) {
    if (slow.signal.aborted)
      throw new SessionFailure(
        'download_timeout',
        `${response.host} sent less than ${formatBytes(limits.stallBytes)} in ${limits.stallMs / 1000} s, after ${formatBytes(bytes)}.`,
      )
    throw explainNetworkError(error, new URL(`https://${response.host}`), signal, {
      bytes,
      announced: singleHeader(response.headers['content-length']),
    })
  } finally {
    clearInterval(timer)
  }
}

/** Hands over each chunk in the event that brings it, which holds nothing back. Rejects also when a stream is destroyed. */
function consume(stream: Readable, onChunk: (chunk: Buffer) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.once('end', resolve)
    stream.once('error', reject)
    stream.once('close', () => reject(new Error('The body was given up.')))
    stream.on('data', (chunk: Buffer) => {
      if (stream.destroyed) return
      try {
        onChunk(chunk)
      } catch (error) {
        reject(error as Error)
        stream.destroy()
      }
    })
  })
}

function singleHeader(value: string | string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined
}

function tooLarge(announced: number | undefined, earlier: number, limits: FetchLimits): SessionFailure {
  const before = earlier === 0 ? '' : ` together with the ${formatBytes(earlier)} of the first attempt`
  const size = announced === undefined ? before : ` (it is ${formatBytes(announced)})${before}`
  return new SessionFailure(
    'code_too_large',
    `The download is larger than ${formatBytes(limits.downloadBytes)}${size}. Use a smaller archive.`,
  )
}
