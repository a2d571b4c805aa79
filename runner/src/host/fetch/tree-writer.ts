import fs from 'node:fs'
import path from 'node:path'

/**
 * Writes files below one empty folder. Nothing is ever written through a link: files are created exclusively, links
 * come last. Calls are synchronous, because a package of small files is several times faster that way; each writes at
 * most one chunk.
 */
export interface TreeWriter extends Disposable {
  folder(relative: string): void
  /** Starts a file; `write` fills it, `close` ends it. One file at a time. */
  open(relative: string, executable: boolean): void
  write(chunk: Uint8Array): void
  close(): void
  hardlink(relative: string, source: string): void
  symlink(relative: string, target: string): void
}

export function createTreeWriter(root: string): TreeWriter {
  const folders = new Set([''])
  let fd: number | undefined
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
    fs.closeSync(closing)
  }
  return {
    folder: ensureFolder,
    open(relative, executable) {
      const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = fs.constants
      fd = fs.openSync(inFolder(relative), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, executable ? 0o755 : 0o644)
    },
    write(chunk) {
      if (fd === undefined) throw new TypeError('write() without open()')
      for (let at = 0; at < chunk.length;) at += fs.writeSync(fd, chunk, at)
    },
    close,
    hardlink: (relative, source) => fs.linkSync(path.join(root, source), inFolder(relative)),
    symlink: (relative, target) => fs.symlinkSync(target, inFolder(relative)),
    [Symbol.dispose]: close,
  }
}

/** Hard links, then symbolic links: the last that is written to a tree. */
export function writeLinks(
  writer: TreeWriter,
  entries: readonly ({ kind: string; path: string; source?: string; target?: string } | undefined)[],
): void {
  for (const entry of entries) if (entry?.kind === 'hardlink') writer.hardlink(entry.path, entry.source ?? '')
  for (const entry of entries) if (entry?.kind === 'symlink') writer.symlink(entry.path, entry.target ?? '')
}
