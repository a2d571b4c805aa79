import { randomBytes } from 'node:crypto'
import { constants, type Dirent, existsSync, fstatSync, readFileSync } from 'node:fs'
import { type FileHandle, chmod, lchmod, lstat, open, opendir, rename, rmdir, unlink } from 'node:fs/promises'
import path from 'node:path'

/** Node does not name it. Such a descriptor needs no permission on what it opens (open(2)). */
const O_PATH = 0o10000000
const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = constants
/** A path through a descriptor stays in the folder that was opened, whatever is put in its place meanwhile. */
const DESCRIPTORS = '/proc/self/fd'
const hasDescriptors = process.platform === 'linux' && existsSync(DESCRIPTORS)

/** How many files are removed at a time. */
const AT_ONCE = 16
/** How often a tree that somebody still fills is gone through. */
const PASSES = 3
/** Folders that can't be moved, one within another, and are emptied where they are. */
const MAX_FIXED_DEPTH = 32

const WHY: Readonly<Record<string, string>> = {
  EACCES: 'it belongs to another user (EACCES)',
  EBUSY: 'something is mounted there (EBUSY)',
  EPERM: 'it is immutable or belongs to another user (EPERM)',
  EROFS: 'its file system is read-only (EROFS)',
  EXDEV: 'something is mounted there (EXDEV)',
  ENOTEMPTY: 'a program still writes to it (ENOTEMPTY)',
}

/** Something of a tree could not be removed; all the rest of it has been. */
export class RemovalError extends Error {
  override readonly name = 'RemovalError'
  /** What is still there, the first of it. */
  readonly path: string
  readonly code: string
  constructor(first: { path: string; code: string }, count: number) {
    const others = count > 1 ? `; ${count - 1} more cannot be removed either` : ''
    super(`${first.path} cannot be removed: ${WHY[first.code] ?? first.code}${others}`)
    this.path = first.path
    this.code = first.code
  }
}

/**
 * Removes what lies at `target` with all that is in it; nothing there is fine. The folder around it must be one that
 * only we change, while the tree may be of a program that means ill and still runs: links are removed and never followed,
 * a mount or another file system is not entered, and modes change on folders of the tree alone, where their owner may
 * not write (a Go module cache has such). Depth and names do not matter: deeper folders are moved up before they are
 * emptied, so no path grows long and two folders are open at a time.
 *
 * Node's own `rm` with `recursive` reads through a link that it may not unlink (its parent is immutable), and removes
 * what it finds there: https://github.com/nodejs/node/blob/v20.20.2/lib/internal/fs/rimraf.js
 *
 * @throws RemovalError that names the first thing that is left.
 */
export async function removeTree(target: string): Promise<void> {
  const whole = path.resolve(target)
  await using around = await Folder.open(Buffer.from(path.dirname(whole)), path.dirname(whole), { follow: true }).catch(
    ifThere,
  )
  if (around === undefined) return
  const removal = new Removal(whole)
  await removal.run(around, Buffer.from(path.basename(whole)))
  removal.throwIfFailed()
}

class Removal {
  readonly #target: string
  #top: Folder | undefined
  /** Folders directly in the top one that are still to be emptied. */
  #waiting: Buffer[] = []
  #first: { path: string; code: string } | undefined
  #failures = 0

  constructor(target: string) {
    this.#target = target
  }

  throwIfFailed(): void {
    if (this.#first !== undefined) throw new RemovalError(this.#first, this.#failures)
  }

  async run(around: Folder, name: Buffer): Promise<void> {
    for (let pass = 1; ; pass++) {
      const top = await this.#open(around, name)
      if (top === undefined) return
      try {
        this.#top = top
        await this.#empty(top, 0)
        for (let next = this.#waiting.pop(); next !== undefined; next = this.#waiting.pop())
          await this.#removeFolder(top, next, 0)
      } finally {
        await top.close()
      }
      if (this.#failures > 0) return
      const fault = await this.#rmdir(around, name)
      if (fault === undefined) return
      // A process that still runs put something there meanwhile, or something else in its place.
      if (!['ENOTEMPTY', 'ENOTDIR'].includes(fault) || pass === PASSES) return this.#fail(this.#target, fault)
    }
  }

  /** The folder of a name, or undefined when there is none (any more): what is no folder is unlinked. */
  async #open(parent: Folder, name: Buffer): Promise<Folder | undefined> {
    try {
      return await Folder.open(parent.at(name), parent.shown(name), { within: parent })
    } catch (error) {
      const code = codeOf(error)
      if (code === 'ENOTDIR' || code === 'ELOOP') await this.#unlink(parent, name)
      else if (code !== 'ENOENT') this.#fail(parent.shown(name), code)
      return undefined
    }
  }

  async #empty(folder: Folder, depth: number): Promise<void> {
    const running = new Set<Promise<void>>()
    try {
      for await (const entry of await folder.entries()) {
        if (running.size >= AT_ONCE) await Promise.race(running)
        const done: Promise<void> = this.#removeEntry(folder, entry, depth).finally(() => running.delete(done))
        running.add(done)
      }
    } catch (error) {
      this.#fail(folder.path, codeOf(error))
    }
    await Promise.all(running)
  }

  async #removeEntry(folder: Folder, entry: Dirent<Buffer>, depth: number): Promise<void> {
    if (!entry.isDirectory()) return this.#unlink(folder, entry.name)
    if (folder === this.#top) return void this.#waiting.push(entry.name)
    if (await this.#moveUp(folder, entry.name)) return
    await this.#removeFolder(folder, entry.name, depth + 1)
  }

  /** One that belongs to somebody else, or is immutable, stays where it is. */
  async #moveUp(folder: Folder, name: Buffer): Promise<boolean> {
    const upper = Buffer.from(`.removing-${randomBytes(8).toString('hex')}`)
    try {
      await rename(folder.at(name), this.#top!.at(upper))
      this.#waiting.push(upper)
      return true
    } catch {
      return false
    }
  }

  async #removeFolder(parent: Folder, name: Buffer, depth: number): Promise<void> {
    if (depth > MAX_FIXED_DEPTH) return this.#fail(parent.shown(name), 'ELOOP')
    const before = this.#failures
    const folder = await this.#open(parent, name)
    if (folder === undefined) return
    try {
      // Its parent had to be written to, and so has it, for it to be moved.
      if (depth > 0 && (await this.#moveUp(parent, name))) return
      await this.#empty(folder, depth)
    } finally {
      await folder.close()
    }
    const fault = await this.#rmdir(parent, name)
    if (fault !== undefined && fault !== 'ENOTEMPTY' && this.#failures === before) this.#fail(parent.shown(name), fault)
  }

  async #unlink(folder: Folder, name: Buffer): Promise<void> {
    try {
      await unlink(folder.at(name))
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') this.#fail(folder.shown(name), codeOf(error))
    }
  }

  async #rmdir(folder: Folder, name: Buffer): Promise<string | undefined> {
    try {
      await rmdir(folder.at(name))
      return undefined
    } catch (error) {
      const code = codeOf(error)
      // The same to POSIX.
      if (code === 'EEXIST') return 'ENOTEMPTY'
      return code === 'ENOENT' ? undefined : code
    }
  }

  #fail(where: string, code: string): void {
    this.#first ??= { path: where, code }
    this.#failures++
  }
}

/** A folder that was opened without following a link. */
class Folder implements AsyncDisposable {
  readonly #handle: FileHandle
  /** Where it was when it was opened. */
  readonly path: string
  readonly #mount: string

  private constructor(handle: FileHandle, shown: string, mount: string) {
    this.#handle = handle
    this.path = shown
    this.#mount = mount
  }

  /** @throws an error with the code ENOTDIR or ELOOP for what is no folder, EXDEV for another mount than `within`. */
  static async open(at: Buffer, shown: string, how: { follow: true } | { within: Folder }): Promise<Folder> {
    const flags = (hasDescriptors ? O_PATH : O_RDONLY) | O_DIRECTORY | ('follow' in how ? 0 : O_NOFOLLOW)
    const handle = await openUnlocked(at, flags)
    try {
      // Both are in memory once it is open: a turn of the thread pool would take longer.
      const info = fstatSync(handle.fd)
      const mount = `${info.dev}:${mountOf(handle)}`
      const folder = new Folder(handle, shown, mount)
      if ('follow' in how) return folder
      if (mount !== how.within.#mount) throw Object.assign(new Error('something is mounted there'), { code: 'EXDEV' })
      // What may not be changed shows when its content is to be removed.
      if ((info.mode & 0o700) !== 0o700)
        await (hasDescriptors ? chmod(folder.#self, 0o700) : handle.chmod(0o700)).catch(() => {})
      return folder
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  get #self(): string {
    return hasDescriptors ? `${DESCRIPTORS}/${this.#handle.fd}` : this.path
  }

  /** A path for the system; names are bytes. */
  at(name: Buffer): Buffer {
    return Buffer.concat([Buffer.from(`${this.#self}/`), name])
  }

  /** A path for a person. */
  shown(name: Buffer): string {
    return path.join(this.path, name.toString())
  }

  async entries(): Promise<AsyncIterable<Dirent<Buffer>>> {
    // The types know names as text only.
    const options = { encoding: 'buffer' as BufferEncoding, bufferSize: 256 }
    return (await opendir(this.#self, options)) as unknown as AsyncIterable<Dirent<Buffer>>
  }

  close(): Promise<void> {
    return this.#handle.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/** Where a folder that nobody may read can't be opened as such, its owner may change that. */
async function openUnlocked(at: Buffer, flags: number): Promise<FileHandle> {
  try {
    return await open(at as unknown as string, flags)
  } catch (error) {
    if (hasDescriptors || codeOf(error) !== 'EACCES' || !(await lstat(at)).isDirectory()) throw error
    await lchmod(at, 0o700)
    return open(at as unknown as string, flags)
  }
}

/** A file system may be mounted a second time within itself: then the device is the same (proc(5), fdinfo). */
function mountOf(handle: FileHandle): string {
  if (!hasDescriptors) return ''
  const info = readFileSync(`/proc/self/fdinfo/${handle.fd}`, 'utf8')
  return /^mnt_id:\s*(\d+)$/m.exec(info)?.[1] ?? ''
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error)
}

function ifThere(error: unknown): undefined {
  if (codeOf(error) !== 'ENOENT') throw error
}
