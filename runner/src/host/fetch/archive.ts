/** From a downloaded file to an unpacked tree: what it is, all rules, then the files. */
import { open } from 'node:fs/promises'
import { SessionFailure } from '../failure.ts'
import type { PlanOptions } from './entry-plan.ts'
import type { FetchLimits } from './limits.ts'
import { printable } from './refusal.ts'
import { planTar, unpackTar } from './tar.ts'
import { planZip, unpackZip } from './zip.ts'

/**
 * Unpacks an archive into an empty folder. The kind follows from its first bytes, not from its name.
 * @param contentType what the server called it, for the message when it is no archive
 * @returns notes for the person who started the session
 * @throws SessionFailure `not_an_archive`, `archive_refused`
 */
export async function unpackArchive(
  file: string,
  contentType: string,
  root: string,
  options: PlanOptions & { limits: FetchLimits; signal: AbortSignal },
): Promise<string[]> {
  const kind = await archiveKind(file)
  if (kind === undefined) {
    const got = contentType === '' ? 'something that names no type' : printable(contentType).slice(1, -1)
    throw new SessionFailure(
      'not_an_archive',
      `The download is neither a zip nor a tar.gz archive: got ${got}. Use an address that downloads the archive itself.`,
    )
  }
  const plan = kind === 'zip' ? await planZip(file, options) : await planTar(file, options)
  await (kind === 'zip' ? unpackZip : unpackTar)(file, plan, root, options)
  return [...plan.notes]
}

async function archiveKind(file: string): Promise<'zip' | 'tar-gz' | undefined> {
  const handle = await open(file, 'r')
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(512), 0, 512, 0)
    if (bytesRead >= 2 && buffer.readUInt16BE(0) === 0x1f8b) return 'tar-gz'
    const signature = bytesRead >= 4 ? buffer.readUInt32LE(0) : 0
    // Third: an empty zip. Anything else before the first entry is refused later, by its rule.
    if (signature === 0x04034b50 || signature === 0x06054b50) return 'zip'
    const { size } = await handle.stat()
    return (await endsAsZip(handle, size)) ? 'zip' : undefined
  } finally {
    await handle.close()
  }
}

/** Whether a file without a zip's first bytes still has its end record, as with bytes put before it. */
async function endsAsZip(handle: Awaited<ReturnType<typeof open>>, size: number): Promise<boolean> {
  const length = Math.min(size, 22)
  const { buffer } = await handle.read(Buffer.alloc(length), 0, length, size - length)
  return length === 22 && buffer.readUInt32LE(0) === 0x06054b50
}
