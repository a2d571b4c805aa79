import { constants } from 'node:fs'
import { chmod, copyFile, type FileHandle, lstat, open, utimes } from 'node:fs/promises'

const { COPYFILE_EXCL, COPYFILE_FICLONE_FORCE, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants
const CHUNK_BYTES = 256 * 1024
/** From here on it is worth asking whether the file system can share the bytes of both files. */
const CLONE_FROM_BYTES = 1024 * 1024
/** Permission bits without set-user-id, set-group-id and sticky. */
export const PLAIN_BITS = 0o777

/**
 * Copies a regular file to a path where nothing is, with its times and its permission bits. `fs.copyFile` never returns
 * when a file is shorter than it was, or than it says, as those in /sys: it goes on until it has written that many bytes.
 *
 * @param options.onBytes called before so many bytes more are written; what it throws ends the copy
 * @throws the error of the file system, EEXIST among them; ESTALE when there is no regular file any more; the signal's
 * reason
 */
export async function copyRegularFile(
  from: string,
  to: string,
  options: { signal: AbortSignal; onBytes?: (count: number) => void },
): Promise<void> {
  // What replaced the file meanwhile is not followed, and not waited for as a pipe would be.
  const source = await open(from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  try {
    const stat = await source.stat()
    if (!stat.isFile()) throw Object.assign(new Error(`${from} is no regular file any more`), { code: 'ESTALE' })
    const { mode, size, atime, mtime } = stat
    if (size >= CLONE_FROM_BYTES && (await clone(from, to))) options.onBytes?.((await lstat(to)).size)
    else await copyBytes(source, to, options)
    await chmod(to, mode & PLAIN_BITS)
    // make and autotools build anew what looks older than what it is made from.
    await utimes(to, atime, mtime)
  } finally {
    await source.close()
  }
}

async function copyBytes(
  source: FileHandle,
  to: string,
  options: { signal: AbortSignal; onBytes?: (count: number) => void },
): Promise<void> {
  const target = await open(to, O_WRONLY | O_CREAT | O_EXCL, 0o600)
  try {
    const buffer = Buffer.allocUnsafe(CHUNK_BYTES)
    for (;;) {
      options.signal.throwIfAborted()
      const { bytesRead } = await source.read(buffer, 0, buffer.length, null)
      if (bytesRead === 0) return
      options.onBytes?.(bytesRead)
      await target.writeFile(buffer.subarray(0, bytesRead))
    }
  } finally {
    await target.close()
  }
}

/** Whether the file system could. Where it cannot, or there is something at `to`, the copy itself tells why. */
function clone(from: string, to: string): Promise<boolean> {
  return copyFile(from, to, COPYFILE_EXCL | COPYFILE_FICLONE_FORCE).then(
    () => true,
    () => false,
  )
}
