/** zip: yauzl reads the directory and the data, the policy is ours (entry-plan.ts, zip-layout.ts). */
import { type FileHandle, open, truncate } from 'node:fs/promises'
import zlib from 'node:zlib'
import yauzl from 'yauzl'
import { isSessionFailure } from '../failure.ts'
import { type ArchiveEntry, createEntryPlan, type Plan, type PlanOptions } from './entry-plan.ts'
import { formatBytes, type FetchLimits } from './limits.ts'
import { decodeName, printable, refuse } from './refusal.ts'
import { createTreeWriter, finishTree } from './tree-writer.ts'
import { checkExtents, findZipDirectory, readAt, type ZipExtent } from './zip-layout.ts'

interface Options {
  readonly limits: FetchLimits
  readonly signal: AbortSignal
}

const UNICODE_PATH = 0x7075
const MAX_LINK_BYTES = 1024

/**
 * Lists all of a zip and applies every rule to it; writes nothing.
 * @throws SessionFailure `archive_refused`
 */
export async function planZip(file: string, options: PlanOptions & Options): Promise<Plan> {
  await using handle = await openFile(file)
  const directory = await findZipDirectory(handle.file)
  // yauzl takes the end of the file for the end of the zip.
  if (directory.trailing > 0) await truncate(file, directory.fileEnd)
  if (directory.entries > options.limits.entries)
    throw refuse(
      'too-many-entries',
      undefined,
      `The zip contains ${directory.entries} entries; at most ${options.limits.entries} are allowed.`,
    )
  const plan = createEntryPlan(options.limits, options.names)
  const extents: ZipExtent[] = []
  const found: { entry: yauzl.Entry; listed: ArchiveEntry }[] = []
  await eachEntry(
    file,
    options.signal,
    async (zip, entry) => {
      const name = entryName(entry)
      checkEntry(entry, name)
      const extent = localExtent(handle.file, entry, name)
      extents.push(extent)
      found.push({ entry, listed: await toEntry(zip, entry, name) })
    },
    directory.end,
  )
  // Before the sizes: a zip whose entries overlap is a bomb, however large it claims to be.
  checkExtents(extents, directory.start)
  for (const { listed } of found) plan.add(listed)
  checkRatio(found, (await handle.file.stat()).size, options.limits)
  const finished = plan.finish(options)
  if (directory.trailing === 0) return finished
  return {
    ...finished,
    notes: [`the zip is followed by ${directory.trailing} bytes that are not part of it`, ...finished.notes],
  }
}

/** Unpacks a zip that `planZip` accepted into an empty folder. The file must not have changed in between. */
export async function unpackZip(file: string, plan: Plan, root: string, options: Options): Promise<void> {
  using writer = createTreeWriter(root)
  let position = 0
  await eachEntry(file, options.signal, async (zip, entry) => {
    const planned = plan.entries[position++]
    if (planned?.kind === 'folder') writer.folder(planned.path)
    if (planned?.kind !== 'file') return
    writer.open(planned.path, planned.executable, planned.mtimeMs)
    await readEntry(zip, entry, planned.name, (chunk) => {
      options.signal.throwIfAborted()
      writer.write(chunk)
    })
    writer.close()
  })
  await finishTree(writer, plan.entries, options.signal)
}

async function openFile(file: string): Promise<AsyncDisposable & { file: FileHandle }> {
  const handle = await open(file, 'r')
  return { file: handle, [Symbol.asyncDispose]: () => handle.close() }
}

async function eachEntry(
  file: string,
  signal: AbortSignal,
  visit: (zip: yauzl.ZipFile, entry: yauzl.Entry) => Promise<void>,
  directoryEnd?: number,
): Promise<void> {
  let zip: yauzl.ZipFile | undefined
  try {
    // Names stay bytes: yauzl would turn backslashes into slashes and guess at encodings.
    zip = await yauzl.openPromise(file, { decodeStrings: false, autoClose: false })
    for await (const entry of zip.eachEntry()) {
      signal.throwIfAborted()
      await visit(zip, entry)
    }
    if (directoryEnd !== undefined && (zip as unknown as { readEntryCursor: number }).readEntryCursor !== directoryEnd)
      throw refuse('size-mismatch', undefined, 'The number of entries in the zip differs from its end record.')
  } catch (error) {
    if (isSessionFailure(error) || signal.aborted || (error as NodeJS.ErrnoException).syscall !== undefined) throw error
    const text = error instanceof Error ? error.message : String(error)
    throw refuse('broken', undefined, `The zip is damaged (${printable(text).slice(1, -1)}); upload it again.`)
  } finally {
    zip?.close()
  }
}

/**
 * The name by its Unicode field when that belongs to the name (its CRC says so), else by its bytes: UTF-8, and where
 * that is neither promised (flag bit 11) nor the case, cp437.
 */
function entryName(entry: yauzl.Entry): string {
  const raw = entry.fileNameRaw
  const field = entry.extraFields.find(({ id, data }) => id === UNICODE_PATH && data[0] === 1 && data.length >= 5)
  // A program that knows no such field renames and leaves it behind: then the CRC is of the old name.
  const isOfThisName = field !== undefined && field.data.readUInt32LE(1) === zlib.crc32(raw)
  const bytes = isOfThisName ? field.data.subarray(5) : raw
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    if (isOfThisName || (entry.generalPurposeBitFlag & 0x800) !== 0)
      throw refuse('not-utf8', raw.toString('latin1'), 'is not UTF-8.')
    return yauzl.getFileNameLowLevel(entry.generalPurposeBitFlag, raw, [], true)
  }
}

function checkEntry(entry: yauzl.Entry, name: string): void {
  if (entry.isEncrypted()) throw refuse('encrypted', name, 'is encrypted; pack without a password.')
  if (entry.compressionMethod !== 0 && entry.compressionMethod !== 8)
    throw refuse('compression-method', name, `uses compression method ${entry.compressionMethod}; pack with deflate.`)
}

/** Reads an entry's local header, which other programs believe instead of the directory; both must say the same. */
function localExtent(file: FileHandle, entry: yauzl.Entry, name: string): ZipExtent {
  const start = entry.relativeOffsetOfLocalHeader
  const header = readAt(file, start, 30)
  if (header.readUInt32LE(0) !== 0x04034b50)
    throw refuse('name-mismatch', name, 'has no local header where the directory says; pack it again.')
  const nameLength = header.readUInt16LE(26)
  const localName = readAt(file, start + 30, nameLength)
  if (!localName.equals(entry.fileNameRaw))
    throw refuse('name-mismatch', name, `is called ${printable(localName.toString())} in its local header.`)
  const flags = header.readUInt16LE(6)
  if ((flags & 0x1) !== 0) throw refuse('encrypted', name, 'is encrypted; pack without a password.')
  if (header.readUInt16LE(8) !== entry.compressionMethod)
    throw refuse('size-mismatch', name, 'has a different compression method in its local header.')
  const sizes = [header.readUInt32LE(18), header.readUInt32LE(22)]
  const wanted = [entry.compressedSize, entry.uncompressedSize]
  // Bit 3: the sizes follow the data, the header has zeros; 0xffffffff: they stand in a zip64 field.
  const agree = sizes.every(
    (size, i) => size === wanted[i] || size === 0xffffffff || ((flags & 0x8) !== 0 && size === 0),
  )
  if (!agree) throw refuse('size-mismatch', name, 'has different sizes in its local header and in the directory.')
  const end = start + 30 + nameLength + header.readUInt16LE(28) + entry.compressedSize
  return { name, start, end }
}

/** High half of the external attributes, for makers that write Unix modes (3: Unix, 19: macOS). */
function unixMode(entry: yauzl.Entry): number {
  const maker = entry.versionMadeBy >> 8
  return maker === 3 || maker === 19 ? entry.externalFileAttributes >>> 16 : 0
}

async function toEntry(zip: yauzl.ZipFile, entry: yauzl.Entry, name: string): Promise<ArchiveEntry> {
  const mode = unixMode(entry)
  const type = mode & 0o170000
  const time = entry.getLastModDate({ timezone: 'UTC' }).getTime()
  // A date of zeros, which zip counts as of before its first year, is none.
  const mtimeMs = time < Date.UTC(1980, 0) ? Number.NaN : time
  const base = { name, executable: (mode & 0o100) !== 0, mtimeMs }
  const isFolder = name.endsWith('/')
  if (isFolder || type === 0o040000) {
    if (entry.uncompressedSize !== 0 || (type !== 0 && type !== 0o040000))
      throw refuse('size-mismatch', name, 'is a folder by its name and something else by its type or size.')
    return { ...base, kind: 'folder', size: 0 }
  }
  if (type === 0o120000) {
    if (entry.uncompressedSize > MAX_LINK_BYTES)
      throw refuse('name-too-long', name, `is a link whose target has more than ${MAX_LINK_BYTES} bytes.`)
    const chunks: Uint8Array[] = []
    await readEntry(zip, entry, name, (chunk) => chunks.push(chunk))
    return { ...base, kind: 'symlink', size: 0, target: decodeName(Buffer.concat(chunks)) }
  }
  if (type !== 0 && type !== 0o100000)
    throw refuse('special-file', name, 'is a device, pipe or socket; only files, folders and links are accepted.')
  return { ...base, kind: 'file', size: entry.uncompressedSize }
}

/** Reads an entry's data; its length (yauzl checks it) and its CRC must be what the directory says. */
async function readEntry(
  zip: yauzl.ZipFile,
  entry: yauzl.Entry,
  name: string,
  onChunk: (chunk: Uint8Array) => void,
): Promise<void> {
  const stream = await zip.openReadStreamPromise(entry)
  let crc = 0
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      crc = zlib.crc32(chunk, crc)
      onChunk(chunk)
    }
  } finally {
    stream.destroy()
  }
  if (crc !== entry.crc32) throw refuse('crc-mismatch', name, 'is damaged: its CRC is wrong; upload it again.')
}

function checkRatio(
  found: readonly { entry: yauzl.Entry; listed: ArchiveEntry }[],
  fileBytes: number,
  limits: FetchLimits,
): void {
  const total = found.reduce((sum, { listed }) => sum + listed.size, 0)
  if (total > limits.ratioFloorBytes && total / fileBytes > limits.ratio)
    throw refuse(
      'bomb',
      undefined,
      `The zip of ${formatBytes(fileBytes)} unpacks to ${formatBytes(total)}, more than ${limits.ratio} times its size.`,
    )
}
