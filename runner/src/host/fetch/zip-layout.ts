/**
 * Where the parts of a zip file lie. yauzl (3.4.0) finds the last end record and believes its offsets; it does not
 * notice bytes before the first entry, a second end record, or entries that share their bytes. All of a zip must be accounted for here before an entry of it is believed.
 */
import { readSync } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { refuse } from './refusal.ts'

const EOCD_BYTES = 22
const ZIP64_LOCATOR = 0x07064b50
const ZIP64_LOCATOR_BYTES = 20
const ZIP64_EOCD = 0x06064b50
const ZIP64_EOCD_BYTES = 56

export interface ZipDirectory {
  readonly entries: number
  readonly start: number
  readonly end: number
  /** Where the zip ends, its comment included. */
  readonly fileEnd: number
  /** Bytes after that, which are no part of it. */
  readonly trailing: number
}

/**
 * Finds the central directory.
 * @throws SessionFailure `archive_refused` (broken, two-directories, leading-bytes)
 */
export async function findZipDirectory(file: FileHandle): Promise<ZipDirectory> {
  const { size } = await file.stat()
  const tailStart = Math.max(0, size - EOCD_BYTES - 0xffff - ZIP64_LOCATOR_BYTES)
  const tail = readAt(file, tailStart, size - tailStart)
  const at = findEnd(tail, tailStart)
  const end = tailStart + at
  const plain = {
    entries: tail.readUInt16LE(at + 10),
    bytes: tail.readUInt32LE(at + 12),
    start: tail.readUInt32LE(at + 16),
  }
  const hasLocator = at >= ZIP64_LOCATOR_BYTES && tail.readUInt32LE(at - ZIP64_LOCATOR_BYTES) === ZIP64_LOCATOR
  const directory = hasLocator
    ? readZip64(file, tail, at, end, plain)
    : { entries: plain.entries, start: plain.start, end, bytes: plain.bytes }
  const fileEnd = end + EOCD_BYTES + tail.readUInt16LE(at + 20)
  if (directory.start + directory.bytes !== directory.end)
    throw refuse(
      'leading-bytes',
      undefined,
      'The zip has bytes before its first entry or after its directory; pack it again.',
    )
  return { ...directory, fileEnd, trailing: size - fileEnd }
}

/**
 * Position of the end record: the only one whose comment reaches to the end of the file. (A zip inside the zip has end
 * records too, but those do not reach there.) Where none does, bytes follow the zip, and it is the only one that stands
 * where the directory that it tells of ends.
 */
function findEnd(tail: Buffer, tailStart: number): number {
  const signature = Buffer.from([0x50, 0x4b, 0x05, 0x06])
  const all: number[] = []
  for (let at = tail.indexOf(signature); at !== -1; at = tail.indexOf(signature, at + 1))
    if (at + EOCD_BYTES <= tail.length) all.push(at)
  const after = (at: number): number => tail.length - at - EOCD_BYTES - tail.readUInt16LE(at + 20)
  const reaching = all.filter((at) => after(at) === 0)
  const followed = all.filter(
    (at) => after(at) > 0 && tail.readUInt32LE(at + 16) + tail.readUInt32LE(at + 12) === tailStart + at,
  )
  // Behind a zip, whatever another program may take for its end makes it two.
  const found = reaching.length > 0 ? reaching : all.filter((at) => followed[0] !== undefined && at >= followed[0])
  const [at] = found
  if (at === undefined)
    throw refuse(
      'broken',
      undefined,
      'The zip has no end record: it is truncated, or too much data follows it; upload it again.',
    )
  if (found.length > 1)
    throw refuse('two-directories', undefined, 'The zip has two end records, so two programs see different files.')
  if (tail.readUInt16LE(at + 4) !== 0 || tail.readUInt16LE(at + 6) !== 0)
    throw refuse('broken', undefined, 'The zip is one part of a multi-part archive; pack it as one file.')
  return at
}

function readZip64(
  file: FileHandle,
  tail: Buffer,
  at: number,
  end: number,
  plain: { entries: number; bytes: number; start: number },
): Omit<ZipDirectory, 'fileEnd' | 'trailing'> & { bytes: number } {
  const broken = refuse('size-mismatch', undefined, 'The zip64 records of the zip contradict its other records.')
  const start = Number(tail.readBigUInt64LE(at - ZIP64_LOCATOR_BYTES + 8))
  if (start !== end - ZIP64_LOCATOR_BYTES - ZIP64_EOCD_BYTES) throw broken
  const record = readAt(file, start, ZIP64_EOCD_BYTES)
  if (record.readUInt32LE(0) !== ZIP64_EOCD || record.readBigUInt64LE(4) !== BigInt(ZIP64_EOCD_BYTES - 12)) throw broken
  const wide = {
    entries: Number(record.readBigUInt64LE(32)),
    bytes: Number(record.readBigUInt64LE(40)),
    start: Number(record.readBigUInt64LE(48)),
  }
  const agrees = (small: number, max: number, large: number): boolean => small === max || small === large
  if (!agrees(plain.entries, 0xffff, wide.entries) || !agrees(plain.bytes, 0xffffffff, wide.bytes)) throw broken
  if (!agrees(plain.start, 0xffffffff, wide.start)) throw broken
  return { ...wide, end: start }
}

/** The bytes that one entry takes in the file, from its local header to the end of its data. */
export interface ZipExtent {
  readonly name: string
  readonly start: number
  readonly end: number
}

/**
 * Entries must not share bytes with each other or with the directory, and nothing may stand before the first.
 * @throws SessionFailure `archive_refused` (overlap, leading-bytes)
 */
export function checkExtents(extents: readonly ZipExtent[], directoryStart: number): void {
  const sorted = extents.toSorted((a, b) => a.start - b.start)
  if ((sorted[0]?.start ?? directoryStart) !== 0)
    throw refuse('leading-bytes', undefined, 'The zip has bytes before its first entry; pack it again.')
  let end = 0
  for (const extent of sorted) {
    if (extent.start < end || extent.end > directoryStart)
      throw refuse('overlap', extent.name, 'shares its bytes with another entry, as zip bombs do.')
    end = extent.end
  }
}

/** Reads exactly `length` bytes; synchronous, because a zip has many small headers. */
export function readAt(file: FileHandle, position: number, length: number): Buffer {
  const buffer = Buffer.alloc(length)
  if (readSync(file.fd, buffer, 0, length, position) !== length)
    throw refuse('broken', undefined, 'The archive is truncated; upload it again.')
  return buffer
}
