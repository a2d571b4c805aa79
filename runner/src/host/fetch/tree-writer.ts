import fs from 'node:fs'
import path from 'node:path'
import { setImmediate } from 'node:timers/promises'

/**
 * Writes files below one empty folder. Nothing is ever written through a link: files are created exclusively, links
 * come last. Calls are synchronous, because a package of small files is several times faster that way; each writes at
 * most one chunk.
 */
export interface TreeWriter extends Disposable {
  folder(relative: string): void
  /** Starts a file; `write` fills it, `close` ends it. One file at a time. */
  open(relative: string, executable: boolean, mtimeMs?: number): void
  write(chunk: Uint8Array): void
  close(): void
  hardlink(relative: string, source: string): void
  symlink(relative: string, target: string): void
  /** Gives a folder its time; writing into it would change that, so this comes last. */
  stamp(relative: string, mtimeMs: number): void
}

/**
 * A time as utimes takes it, in seconds. Never of the future: zip has local times without a zone, and make would wait
 * for files of tomorrow.
 */
function seconds(mtimeMs: number): number {
  return Math.max(0, Math.min(mtimeMs, Date.now())) / 1000
}

export function createTreeWriter(root: string): TreeWriter {
  const folders = new Set([''])
  let fd: number | undefined
  let time: number | undefined
  const ensureFolder = (relative: string): void => {
    if (folders.has(relative)) return
    const parent = path.posix.dirname(relative)
    ensureFolder(parent === '.' ? '' : parent)
    fs.mkdirSync(path.join(root, relative), { mode: 0o755 })
    folders.add(relative)
  }
  const inFolder = (relative: string): string => {
    const parent = path.posix.dirname(relative)
    ensureFolder(parent === '.' ? '' : parent)
    return path.join(root, relative)
  }
  const close = (): void => {
    if (fd === undefined) return
    const closing = fd
    fd = undefined
    try {
      if (time !== undefined && Number.isFinite(time)) fs.futimesSync(closing, seconds(time), seconds(time))
    } finally {
      fs.closeSync(closing)
    }
  }
  return {
    folder: ensureFolder,
    open(relative, executable, mtimeMs) {
      const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = fs.constants
      fd = fs.openSync(inFolder(relative), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, executable ? 0o755 : 0o644)
      time = mtimeMs
    },
    write(chunk) {
      if (fd === undefined) throw new TypeError('write() without open()')
      for (let at = 0; at < chunk.length;) at += fs.writeSync(fd, chunk, at)
    },
    close,
    hardlink: (relative, source) => fs.linkSync(path.join(root, source), inFolder(relative)),
    symlink: (relative, target) => fs.symlinkSync(target, inFolder(relative)),
    stamp(relative, mtimeMs) {
      if (Number.isFinite(mtimeMs)) fs.utimesSync(path.join(root, relative), seconds(mtimeMs), seconds(mtimeMs))
    },
    [Symbol.dispose]: close,
  }
}

interface Written {
  readonly kind: string
  readonly path: string
  readonly source?: string
  readonly target?: string
  readonly mtimeMs?: number
}

/** So many entries are written in one go: a few milliseconds. */
const STEPS_AT_ONCE = 500

/**
 * What is written to a tree last: hard links, symbolic links, and then the times of folders, which links change.
 *
 * @throws the signal's reason once it is aborted.
 */
export async function finishTree(
  writer: TreeWriter,
  entries: readonly (Written | undefined)[],
  signal: AbortSignal,
): Promise<void> {
  const order = ['hardlink', 'symlink', 'folder'] as const
  const last = order.flatMap((kind) => entries.filter((entry) => entry?.kind === kind))
  for (const [i, entry] of last.entries()) {
    if (i % STEPS_AT_ONCE === 0) await setImmediate()
    signal.throwIfAborted()
    finish(writer, entry!)
  }
}

function finish(writer: TreeWriter, { kind, path: relative, source, target, mtimeMs }: Written): void {
  if (kind === 'hardlink') writer.hardlink(relative, source ?? '')
  else if (kind === 'symlink') writer.symlink(relative, target ?? '')
  else if (relative !== '' && mtimeMs !== undefined) writer.stamp(relative, mtimeMs)
}
