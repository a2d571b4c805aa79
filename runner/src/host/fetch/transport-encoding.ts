/** An encoding that a server put around an archive for the way, though none was asked for. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import type { Transform } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib'
import { tellArchive } from './archive-kind.ts'
import { formatBytes, type FetchLimits } from './limits.ts'
import { refuse } from './refusal.ts'

const DECODERS: Partial<Record<string, () => Transform>> = {
  gzip: createGunzip,
  'x-gzip': createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
}

/**
 * Takes a Content-Encoding off a downloaded file, into a file beside it. Many servers call a tar.gz itself
 * `Content-Encoding: gzip`: what is no archive without its gzip, or is a plain tar, stays as it came.
 * @returns undefined when the file stays as it is
 * @throws SessionFailure `archive_refused` when it grows beyond the limits
 */
export async function decodeTransport(
  file: string,
  encoding: string,
  options: { limits: FetchLimits; signal: AbortSignal },
): Promise<{ file: string; sha256: string } | undefined> {
  const decoder = Object.hasOwn(DECODERS, encoding) ? DECODERS[encoding]?.() : undefined
  if (decoder === undefined) return undefined
  const target = `${file}.decoded`
  const sha256 = await decodeInto(file, decoder, target, options)
  if (sha256 === undefined) return undefined
  const { kind } = await tellArchive(target)
  return kind === 'zip' || kind === 'tar-gz' || (kind === 'tar' && !/gzip/.test(encoding))
    ? { file: target, sha256 }
    : undefined
}

async function decodeInto(
  file: string,
  decoder: Transform,
  target: string,
  { limits, signal }: { limits: FetchLimits; signal: AbortSignal },
): Promise<string | undefined> {
  await using out = await open(target, 'wx', 0o600)
  const raw = createReadStream(file)
  raw.on('error', (error) => decoder.destroy(error))
  const hash = createHash('sha256')
  let bytes = 0
  try {
    for await (const chunk of raw.pipe(decoder) as AsyncIterable<Buffer>) {
      signal.throwIfAborted()
      bytes += chunk.length
      if (bytes > limits.downloadBytes) {
        const limit = formatBytes(limits.downloadBytes)
        throw refuse('too-large', undefined, `The archive is larger than ${limit} without its Content-Encoding.`)
      }
      hash.update(chunk)
      await out.write(chunk)
    }
    return hash.digest('hex')
  } catch (error) {
    // The server named an encoding that the bytes do not have, or they are damaged: reading the archive tells which.
    if (/^(Z_|ERR_BROTLI|ERR__ERROR_FORMAT)/.test((error as NodeJS.ErrnoException).code ?? '')) return undefined
    throw error
  } finally {
    raw.destroy()
    decoder.destroy()
  }
}
