/** From a downloaded file to an unpacked tree: what it is, all rules, then the files. */
import { SessionFailure } from '../failure.ts'
import { tellArchive } from './archive-kind.ts'
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
  const told = await tellArchive(file)
  if (told.kind === 'other') throw notAnArchive(told.name, contentType)
  if (told.kind === 'zip') {
    const plan = await planZip(file, options)
    await unpackZip(file, plan, root, options)
    return [...plan.notes]
  }
  const tarOptions = { ...options, isGzip: told.kind === 'tar-gz' }
  const plan = await planTar(file, tarOptions)
  await unpackTar(file, plan, root, tarOptions)
  return [...plan.notes]
}

function notAnArchive(name: string | undefined, contentType: string): SessionFailure {
  if (name !== undefined)
    return new SessionFailure(
      'not_an_archive',
      `The download is ${name}, whatever its address says. Pack it as zip, tar.gz or tar.`,
    )
  const got = contentType === '' ? 'something without a type' : printable(contentType).slice(1, -1)
  return new SessionFailure(
    'not_an_archive',
    `The download is not a zip, tar.gz or tar archive: got ${got}. Use an address that downloads the archive itself.`,
  )
}
