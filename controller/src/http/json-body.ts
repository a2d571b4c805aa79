import type { IncomingMessage } from 'node:http'
import { AppError, LIMITS } from '@cliscale/contract'
import { findJsonFault } from './json-scan.ts'

/** Deeper than any body of ours. */
const MAX_DEPTH = 16

/**
 * Reads the body of a request as JSON; undefined when it has none.
 *
 * @throws AppError body_too_large, unsupported_media_type, json_invalid; none of them quotes the body.
 */
export async function readJsonBody(req: IncomingMessage): Promise<unknown> {
  if (!hasBody(req)) return undefined
  refuseForeignType(req)
  const bytes = await readBytes(req, LIMITS.bodyBytes)
  if (bytes.length === 0) return undefined
  return parse(decode(bytes))
}

/** As `readJsonBody`, where there must be a body. @throws AppError body_required as well. */
export async function readRequiredJsonBody(req: IncomingMessage): Promise<unknown> {
  const body = await readJsonBody(req)
  if (body === undefined) throw new AppError('body_required', { detail: 'Send a JSON object as the body.' })
  return body
}

function hasBody(req: IncomingMessage): boolean {
  return req.headers['transfer-encoding'] !== undefined || Number(req.headers['content-length'] ?? 0) > 0
}

function refuseForeignType(req: IncomingMessage): void {
  const [type = '', ...parameters] = (req.headers['content-type'] ?? '').toLowerCase().split(';')
  if (type.trim() !== 'application/json')
    throw new AppError('unsupported_media_type', { detail: 'Send the body with "Content-Type: application/json".' })
  const charset = parameters.map((part) => /^\s*charset\s*=\s*"?([^"\s]*)"?\s*$/.exec(part)?.[1]).find(Boolean)
  if (charset !== undefined && charset !== 'utf-8' && charset !== 'utf8')
    throw new AppError('unsupported_media_type', { detail: 'JSON is sent in UTF-8; leave the charset out.' })
  const encoding = req.headers['content-encoding']?.toLowerCase()
  // Unpacking is where a small request becomes a large one.
  if (encoding !== undefined && encoding !== 'identity')
    throw new AppError('unsupported_media_type', { detail: 'Send the body uncompressed, without Content-Encoding.' })
}

function tooLarge(limit: number, found: string): AppError {
  return new AppError('body_too_large', {
    detail: `The body may be at most ${limit} bytes, got ${found}. Put large data into the code that code_url points to.`,
  })
}

function readBytes(req: IncomingMessage, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const announced = Number(req.headers['content-length'] ?? 0)
    if (announced > limit) {
      // Read and dropped, so that the client gets to see the answer; the server's time limit ends it.
      req.resume()
      return reject(tooLarge(limit, String(announced)))
    }
    const chunks: Buffer[] = []
    let size = 0
    const settle = (finish: () => void): void => {
      req.off('data', onData).off('end', onEnd).off('error', onClose).off('close', onClose)
      finish()
    }
    const onData = (chunk: Buffer): void => {
      size += chunk.length
      if (size <= limit) return void chunks.push(chunk)
      settle(() => {
        req.resume()
        reject(tooLarge(limit, 'more'))
      })
    }
    const onEnd = (): void => settle(() => resolve(Buffer.concat(chunks, size)))
    const onClose = (): void =>
      settle(() => reject(new AppError('bad_request', { detail: 'The body ended too early.' })))
    req.on('data', onData).on('end', onEnd).on('error', onClose).on('close', onClose)
  })
}

function decode(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new AppError('json_invalid', { detail: 'The body is not valid UTF-8.', cause })
  }
}

function parse(text: string): unknown {
  const fault = findJsonFault(text, MAX_DEPTH)
  if (fault === undefined) return JSON.parse(text)
  const before = text.slice(0, fault.position).split('\n')
  const where = `at position ${fault.position} (line ${before.length}, column ${before.at(-1)!.length + 1})`
  const what = {
    syntax: fault.position >= text.length ? `It ends too early, ${where}.` : `The fault is ${where}.`,
    depth: `It is nested more than ${MAX_DEPTH} levels deep ${where}.`,
    duplicate_key: `An object has the same key twice, the second ${where}.`,
  }[fault.kind]
  throw new AppError('json_invalid', { detail: `The body is not valid JSON. ${what}` })
}
