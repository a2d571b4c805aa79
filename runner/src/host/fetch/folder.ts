/** A folder of this machine as code: copied, never changed. */
import type { Dirent } from 'node:fs'
import { chmod, lstat, mkdir, readdir, readlink, realpath, symlink, utimes } from 'node:fs/promises'
import path from 'node:path'
import { copyRegularFile, PLAIN_BITS } from '../../relay/copy-file.ts'
import { SessionFailure } from '../failure.ts'
import { formatBytes, type FetchLimits } from './limits.ts'
import { printable } from './refusal.ts'

/** What people are told about when it is copied, because it is often large or not meant. */
const NOTED = ['.git', 'node_modules']

/**
 * Copies a folder's content into an empty folder. Symbolic links stay as they are, wherever they lead: the folder is
 * the caller's own. Times and permission bits are kept, but that a folder stays its owner's to change; owners are not.
 * @throws SessionFailure `folder_not_found`, `bad_code_url`, `code_too_large`
 */
export async function copyFolder(
  from: string,
  to: string,
  options: { limits: FetchLimits; signal: AbortSignal },
): Promise<string[]> {
  const source = await resolveFolder(from)
  // A folder that holds its own copy would never end.
  if (isInside(await realpath(to), source))
    throw new SessionFailure(
      'bad_code_url',
      `The folder ${printable(from)} contains the data of CLI Scale itself. Choose another.`,
    )
  const state = { entries: 0, bytes: 0 }
  await copyInto(source, to, '', state, options)
  const present = new Set(await readdir(source))
  return NOTED.filter((name) => present.has(name)).map((name) => `${name} was copied with the folder`)
}

async function resolveFolder(from: string): Promise<string> {
  let real: string
  try {
    real = await realpath(from)
    if (!(await lstat(real)).isDirectory())
      throw new SessionFailure('bad_code_url', `${printable(from)} is not a folder.`)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw new SessionFailure('folder_not_found', `There is no folder ${printable(from)} on this machine.`)
    throw unreadable(error, from)
  }
  return real
}

function isInside(inner: string, outer: string): boolean {
  return inner === outer || inner.startsWith(outer.endsWith('/') ? outer : `${outer}/`)
}

async function copyInto(
  source: string,
  target: string,
  below: string,
  state: { entries: number; bytes: number },
  options: { limits: FetchLimits; signal: AbortSignal },
): Promise<void> {
  let children: Dirent[]
  try {
    if (below !== '') await mkdir(path.join(target, below))
    children = await readdir(path.join(source, below), { withFileTypes: true })
  } catch (error) {
    throw unreadable(error, below)
  }
  for (const child of children) {
    options.signal.throwIfAborted()
    const relative = path.join(below, child.name)
    state.entries += 1
    if (state.entries > options.limits.entries)
      throw new SessionFailure(
        'code_too_large',
        `The folder contains more than ${options.limits.entries} entries. Use a smaller one.`,
      )
    if (child.isDirectory()) {
      await copyInto(source, target, relative, state, options)
      const { mode, atime, mtime } = await lstat(path.join(source, relative))
      // Without its owner's rights nothing could be moved out of it, nor taken away.
      await chmod(path.join(target, relative), (mode & PLAIN_BITS) | 0o700)
      await utimes(path.join(target, relative), atime, mtime)
    } else await copyOne(child, path.join(source, relative), path.join(target, relative), state, options)
  }
}

async function copyOne(
  child: Dirent,
  from: string,
  to: string,
  state: { bytes: number },
  { limits, signal }: { limits: FetchLimits; signal: AbortSignal },
): Promise<void> {
  const take = (count: number): void => {
    state.bytes += count
    requireRoom(state.bytes, limits)
  }
  try {
    // As bytes: a target need not be UTF-8.
    if (child.isSymbolicLink()) return await symlink(await readlink(from, 'buffer'), to)
    if (!child.isFile())
      throw new SessionFailure(
        'bad_code_url',
        `${printable(from)} is a device, pipe or socket, which cannot be copied. Remove it.`,
      )
    requireRoom(state.bytes + (await lstat(from)).size, limits)
    await copyRegularFile(from, to, { signal, onBytes: take })
  } catch (error) {
    throw unreadable(error, from)
  }
}

function requireRoom(bytes: number, limits: FetchLimits): void {
  if (bytes <= limits.unpackedBytes) return
  throw new SessionFailure(
    'code_too_large',
    `The folder is larger than ${formatBytes(limits.unpackedBytes)}. Use a smaller one.`,
  )
}

const REPLACED = 'was replaced while it was copied. Try again.'
const WHY: Partial<Record<string, string>> = {
  EACCES: 'cannot be read (EACCES). Give the user of CLI Scale access.',
  EPERM: 'cannot be read (EPERM). Give the user of CLI Scale access.',
  ENOENT: 'cannot be copied (ENOENT): it was removed meanwhile, or its name is not UTF-8.',
  ESTALE: REPLACED,
  ELOOP: REPLACED,
  ENXIO: REPLACED,
  ENAMETOOLONG: 'cannot be copied (ENAMETOOLONG): its path is too long.',
}

function unreadable(error: unknown, what: string): unknown {
  const why = WHY[(error as NodeJS.ErrnoException).code ?? '']
  return why === undefined ? error : new SessionFailure('bad_code_url', `${printable(what)} ${why}`, { cause: error })
}
