/** tar and tar.gz: node-tar reads the headers, zlib unpacks, the policy is ours (entry-plan.ts). */
import { createReadStream } from 'node:fs'
import { createGunzip, type Gunzip } from 'node:zlib'
import { Parser, type ReadEntry } from 'tar'
import { isSessionFailure, SessionFailure } from '../failure.ts'
import { type ArchiveEntry, createEntryPlan, type Plan, type PlanOptions } from './entry-plan.ts'
import { formatBytes, type FetchLimits } from './limits.ts'
import { notUtf8, refuse } from './refusal.ts'
import { createTreeWriter, finishTree } from './tree-writer.ts'

/** What extended headers of an entry may have; some programs keep icons and access lists in them. */
const MAX_META_BYTES = 1024 * 1024

/** Other programs unpack such an archive without a word, and some write one. */
const NO_END = 'the tar archive has no end mark: it may have been cut off, and files of it be missing'

interface TarOptions {
  readonly limits: FetchLimits
  readonly signal: AbortSignal
  /** Whether the tar is inside a gzip. */
  readonly isGzip: boolean
}

/**
 * Lists all of a tar and applies every rule to it; writes nothing.
 * @throws SessionFailure `archive_refused`, `not_an_archive`
 */
export async function planTar(file: string, options: PlanOptions & TarOptions): Promise<Plan> {
  const plan = createEntryPlan(options.limits, options.names)
  const { hasEnd } = await readTar(file, options, (entry, recent) => {
    plan.add(toEntry(entry, recent))
    entry.resume()
  })
  const planned = plan.finish(options)
  return hasEnd ? planned : { ...planned, notes: [NO_END, ...planned.notes] }
}

/** Unpacks a tar that `planTar` accepted into an empty folder. The file must not have changed in between. */
export async function unpackTar(file: string, plan: Plan, root: string, options: TarOptions): Promise<void> {
  using writer = createTreeWriter(root)
  let position = 0
  await readTar(file, options, (entry) => {
    const planned = plan.entries[position++]
    if (planned?.kind === 'folder') writer.folder(planned.path)
    if (planned?.kind !== 'file') {
      entry.resume()
      return
    }
    writer.open(planned.path, planned.executable, planned.mtimeMs)
    entry.on('data', (chunk: Buffer) => writer.write(chunk))
    entry.on('end', () => writer.close())
  })
  await finishTree(writer, plan.entries, options.signal)
}

/** The last of the tar that was read: the header of the entry that comes now is in it. */
type Recent = readonly [Buffer, Buffer]
type OnEntry = (entry: ReadEntry, recent: Recent) => void

/**
 * Feeds a tar through node-tar. Everything node-tar would only warn about or skip is an error here. Resolves to whether
 * the archive ends as one should: with blocks of zeros.
 */
async function readTar(file: string, options: TarOptions, onEntry: OnEntry): Promise<{ hasEnd: boolean }> {
  const raw = createReadStream(file)
  const bytes = options.isGzip ? createGunzip({ chunkSize: 64 * 1024 }) : raw
  const state = { out: 0, entries: 0, nulls: false, ended: false }
  let recent: Recent = [Buffer.alloc(0), Buffer.alloc(0)]
  const parser = createParser(state, (entry) => onEntry(entry, recent))
  try {
    if (bytes !== raw) {
      raw.on('error', (error) => bytes.destroy(error))
      raw.pipe(bytes as Gunzip)
    }
    for await (const chunk of bytes as AsyncIterable<Buffer>) {
      options.signal.throwIfAborted()
      if (state.out === 0) checkStart(chunk)
      state.out += chunk.length
      recent = [recent[1], chunk]
      checkBomb(state.out, bytes === raw ? state.out : (bytes as Gunzip).bytesWritten, options.limits)
      // What follows the end of the archive is counted and not looked at, as other programs have it.
      if (!state.ended) parser.write(chunk)
    }
    parser.end()
    return { hasEnd: state.nulls }
  } catch (error) {
    throw explainTarError(error)
  } finally {
    raw.destroy()
    bytes.destroy()
  }
}

function createParser(
  state: { entries: number; nulls: boolean; ended: boolean },
  onEntry: (entry: ReadEntry) => void,
): Parser {
  const parser = new Parser({ maxMetaEntrySize: MAX_META_BYTES })
  parser.on('warn', (code: string, message: string | Error) => {
    const text = message instanceof Error ? message.message : message
    // A tar of nothing but its end: the plan says that it is empty.
    if (code === 'TAR_BAD_ARCHIVE' && state.entries === 0 && state.nulls) return
    if (state.entries === 0 && code !== 'TAR_ABORT')
      throw new SessionFailure(
        'not_an_archive',
        `The file is not a tar archive (${text}). Use a .zip, .tar.gz or .tar.`,
      )
    throw refuse('odd-header', undefined, `The archive has a header that cannot be read (${text}); pack it again.`)
  })
  parser.on('nullBlock', () => {
    state.nulls = true
  })
  parser.on('eof', () => {
    state.ended = true
  })
  parser.on('meta', (text: string) => checkMeta(text))
  parser.on('ignoredEntry', (entry: ReadEntry) => {
    if (entry.type === 'SparseFile') throw sparse(entry.path)
    if (entry.meta) throw refuse('odd-header', entry.path, `is a header of more than ${formatBytes(MAX_META_BYTES)}.`)
    throw refuse('special-file', entry.path, `is an entry of the type ${entry.header.typeKey}, not a file or folder.`)
  })
  parser.on('entry', (entry: ReadEntry) => {
    state.entries += 1
    onEntry(entry)
  })
  return parser
}

/** node-tar has decoded it: where it could not read a byte stands U+FFFD, which then is not in the archive. */
function checkDecoded(text: string, recent: Recent): string {
  const doubtful = text.split('/').filter((part) => part.includes('\ufffd'))
  if (doubtful.length === 0) return text
  const raw = Buffer.concat(recent)
  return doubtful.every((part) => raw.includes(part)) ? text : notUtf8(text)
}

function toEntry(entry: ReadEntry, recent: Recent): ArchiveEntry {
  const name = checkDecoded(entry.path, recent)
  const target = checkDecoded(entry.linkpath ?? '', recent)
  const executable = ((entry.mode ?? 0) & 0o100) !== 0
  const mtimeMs = entry.mtime?.getTime() ?? Number.NaN
  switch (entry.type) {
    case 'File':
    case 'OldFile':
    case 'ContiguousFile':
      // node-tar gives no size where the field is negative or no number.
      if (entry.header.size === undefined) throw refuse('odd-header', name, 'has a size that is not a number.')
      return { name, executable, mtimeMs, kind: 'file', size: entry.size }
    case 'Directory':
      return { name, executable, mtimeMs, kind: 'folder', size: 0 }
    case 'SymbolicLink':
      return { name, executable, mtimeMs, kind: 'symlink', size: 0, target }
    case 'Link':
      return { name, executable, mtimeMs, kind: 'hardlink', size: 0, target }
    default:
      throw refuse('special-file', name, `is of the type ${entry.type}; only files, folders and links are accepted.`)
  }
}

function sparse(name: string): SessionFailure {
  return refuse('sparse-file', name, 'is a sparse file; pack without --sparse.')
}

/**
 * Extended headers. node-tar cuts values at a NUL and skips records whose length is wrong (7.5.23), so that an entry
 * would silently get another name than was meant.
 */
function checkMeta(text: string): void {
  for (const [line, length, key = '', value = ''] of text.matchAll(
    /^(\d+) (path|linkpath|size|GNU\.sparse\.[^=\n]*)=(.*)$/gm,
  )) {
    if (key.startsWith('GNU.sparse.')) throw sparse(value)
    const whole = Number(length) === Buffer.byteLength(line) + 1
    if (!whole || value.includes('\0') || (key === 'size' && !/^\d{1,15}$/.test(value)))
      throw refuse('odd-header', value, `is in an extended header (${key}) that can be read in two ways.`)
  }
}

function checkStart(chunk: Buffer): void {
  if (chunk[0] === 0x1f && chunk[1] === 0x8b)
    throw refuse('nested-gzip', undefined, 'The archive is a gzip inside a gzip; compress it only once.')
}

function checkBomb(out: number, read: number, limits: FetchLimits): void {
  // Headers and padding come on top of what the files hold.
  if (out > limits.unpackedBytes + limits.entries * 1536)
    throw refuse('too-large', undefined, `The archive unpacks to more than ${formatBytes(limits.unpackedBytes)}.`)
  if (out > limits.ratioFloorBytes && out / Math.max(read, 1) > limits.ratio)
    throw refuse('bomb', undefined, `The archive unpacks to more than ${limits.ratio} times its size.`)
}

function explainTarError(error: unknown): unknown {
  if (isSessionFailure(error)) return error
  const code = (error as NodeJS.ErrnoException).code ?? ''
  if (code === 'Z_BUF_ERROR') return refuse('broken', undefined, 'The archive is truncated; upload it again.')
  if (code.startsWith('Z_')) return refuse('broken', undefined, `The archive is damaged (${code}); upload it again.`)
  return error
}
