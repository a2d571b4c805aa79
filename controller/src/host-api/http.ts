import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import {
  AppError,
  clampSize,
  decodeOutputTimes,
  DEFAULT_SIZE,
  isAppError,
  OUTPUT_HEADERS,
  type OutputTimes,
  toProblem,
} from '@cliscale/contract'
import { bearerOf, isExpectedNetworkError, type Logger, toFault } from '@cliscale/service-kit'
import type { z } from 'zod'

/** Longest time for a body to arrive, in milliseconds. */
const BODY_TIMEOUT_MS = 20_000

/** The bearer credential. @throws AppError unauthorized when there is none that we would read. */
export function bearer(request: IncomingMessage): string {
  const credential = bearerOf(request)
  if (credential !== undefined) return credential
  const headers = { 'www-authenticate': 'Bearer' }
  throw new AppError('unauthorized', { detail: 'A bearer credential is required.', headers })
}

/** The whole body. A request whose body does not arrive in time is destroyed. @throws AppError body_too_large */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const tooLarge = new AppError('body_too_large', {
    detail: `The body may be at most ${maxBytes} bytes.`,
    headers: { connection: 'close' },
  })
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge
  const chunks: Buffer[] = []
  let length = 0
  const timer = setTimeout(() => request.destroy(), BODY_TIMEOUT_MS)
  try {
    // Left open when it is too large: the answer still has to go out.
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      length += chunk.length
      if (length > maxBytes) throw tooLarge
      chunks.push(chunk)
    }
  } finally {
    clearTimeout(timer)
  }
  return Buffer.concat(chunks)
}

/** The body, as JSON that fits a schema. */
export async function readJson<T>(request: IncomingMessage, schema: z.ZodType<T>, maxBytes: number): Promise<T> {
  const body = await readBody(request, maxBytes)
  let value: unknown
  try {
    value = JSON.parse(body.toString('utf8'))
  } catch {
    throw new AppError('json_invalid', { detail: 'The body is not JSON.' })
  }
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const errors = parsed.error.issues.map((issue) => ({ path: issue.path.join('.'), message: issue.message }))
  throw new AppError('invalid_field', { detail: 'The body is not valid for this call.', errors })
}

/** Where output bytes belong and how wide the terminal was. */
export function outputHeaders(request: IncomingMessage): { offset: number; columns: number; rows: number } {
  const number = (name: string): number | undefined => {
    const text = request.headers[name]
    return typeof text === 'string' && /^\d{1,15}$/.test(text) ? Number(text) : undefined
  }
  const offset = number(OUTPUT_HEADERS.offset)
  if (offset === undefined)
    throw new AppError('bad_request', { detail: `${OUTPUT_HEADERS.offset} must be the offset of the first byte.` })
  const size = { columns: number(OUTPUT_HEADERS.columns), rows: number(OUTPUT_HEADERS.rows) }
  return { offset, ...clampSize(size, DEFAULT_SIZE) }
}

/** When the bytes of a report were read; undefined when it does not say, or not in words that we know. */
export function outputTimes(request: IncomingMessage, length: number): OutputTimes | undefined {
  const text = request.headers[OUTPUT_HEADERS.times]
  return typeof text === 'string' ? decodeOutputTimes(text, length) : undefined
}

export function sendJson(response: ServerResponse, value: unknown): void {
  const body = Buffer.from(JSON.stringify(value))
  const headers = { 'content-type': 'application/json', 'content-length': body.length, 'cache-control': 'no-store' }
  response.writeHead(200, headers).end(body)
}

export function sendEmpty(response: ServerResponse): void {
  response.writeHead(204).end()
}

/** Answers with a problem document; what is not the caller's fault is logged. */
export function sendProblem(logger: Logger, request: IncomingMessage, response: ServerResponse, error: unknown): void {
  if (request.destroyed && !request.complete) return void response.destroy()
  const known = toFault(error)
  const requestId = randomUUID()
  const problem = toProblem(known, requestId)
  const line = { requestId, method: request.method, path: (request.url ?? '').split('?', 1)[0], code: problem.code }
  if (problem.code === 'internal_error' && !isExpectedNetworkError(error))
    logger.error({ ...line, err: error }, 'call failed')
  else logger.debug(line, 'call refused')
  if (response.headersSent) return void response.destroy()
  // A body that nobody will read must not keep the connection busy.
  const rest = request.complete ? {} : { connection: 'close' }
  const headers = { 'content-type': 'application/problem+json', ...(isAppError(known) ? known.headers : {}), ...rest }
  response.writeHead(problem.status, headers).end(JSON.stringify(problem))
}
