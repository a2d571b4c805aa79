import type { Dirent } from 'node:fs'
import { access, chmod, lstat, mkdir, opendir, readlink, symlink, utimes } from 'node:fs/promises'
import path from 'node:path'
import { copyRegularFile, PLAIN_BITS } from '../relay/copy-file.ts'
import { LaunchFailure } from './launch-check.ts'

/** How many files are copied at a time; the rest of Node's four threads stay for others. */
const AT_ONCE = 3

/**
 * Copies the tree that lies in `from`, whatever it is, into the folder `to`: every file belongs to this process's user
 * then, as git and npm demand. Links stay as they are, wherever they lead; times are kept, as make demands, and
 * permission bits without set-user-id.
 *
 * @returns whether `from` is there; if not, there is no code
 * @throws LaunchFailure ENOSPC when the disk is full; the error of the file that could not be copied
 * @throws the signal's reason
 */
export async function takeCode(from: string, to: string, signal: AbortSignal): Promise<boolean> {
  try {
    await mkdir(to, { recursive: true })
    if (!(await isThere(from))) return false
    await copyInto(from, to, signal)
    return true
  } catch (error) {
    signal.throwIfAborted()
    const code = (error as NodeJS.ErrnoException).code ?? ''
    if (code === 'ENOSPC' || code === 'EDQUOT')
      throw new LaunchFailure(code, "There is no room left for the code on the session's disk.", { cause: error })
    if (code === 'EACCES' || code === 'EPERM')
      throw new LaunchFailure(code, `The code could not be copied into the workspace (${code}).`, { cause: error })
    throw error
  }
}

/** One folder after another, so that only the names of one chain of folders are open at a time. */
async function copyInto(from: string, to: string, signal: AbortSignal): Promise<void> {
  const running = new Set<Promise<void>>()
  let failed: { error: unknown } | undefined
  const folders: string[] = []
  for await (const child of await opendir(from)) {
    signal.throwIfAborted()
    if (failed !== undefined) break
    if (child.isDirectory()) {
      folders.push(child.name)
      continue
    }
    if (running.size >= AT_ONCE) await Promise.race(running)
    const copy: Promise<void> = copyOne(child, path.join(from, child.name), path.join(to, child.name), signal)
      .catch((error: unknown) => {
        failed ??= { error }
      })
      .finally(() => running.delete(copy))
    running.add(copy)
  }
  await Promise.all(running)
  if (failed !== undefined) throw failed.error
  for (const name of folders) await copyFolder(path.join(from, name), path.join(to, name), signal)
}

async function isThere(folder: string): Promise<boolean> {
  return access(folder).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
      return false
    },
  )
}

async function copyFolder(from: string, to: string, signal: AbortSignal): Promise<void> {
  const { mode, atime, mtime } = await lstat(from)
  await mkdir(to, { mode: 0o700 })
  await copyInto(from, to, signal)
  await utimes(to, atime, mtime)
  await chmod(to, mode & PLAIN_BITS)
}

async function copyOne(child: Dirent, from: string, to: string, signal: AbortSignal): Promise<void> {
  // As bytes: a target need not be UTF-8.
  if (child.isSymbolicLink()) return symlink(await readlink(from, 'buffer'), to)
  // Pipes, sockets and devices are never code.
  if (!child.isFile()) return
  await copyRegularFile(from, to, { signal })
}
