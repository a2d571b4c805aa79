/** What a file is, by its bytes. */
import { type FileHandle, open } from 'node:fs/promises'

export type ArchiveKind =
  | { readonly kind: 'zip' | 'tar' | 'tar-gz' }
  /** `name`: what it is with its article, where that can be told. */
  | { readonly kind: 'other'; readonly name?: string }

/** First bytes, in hexadecimal, of what is often called .tar.gz or .zip and is not. */
const OTHERS: readonly (readonly [string, string])[] = [
  ['fd377a585a00', 'an xz file'],
  ['28b52ffd', 'a zstd file'],
  ['425a68', 'a bzip2 file'],
  ['377abcaf271c', 'a 7z archive'],
  ['526172211a07', 'a rar archive'],
  ['04224d18', 'an lz4 file'],
  ['4c5a4950', 'an lzip file'],
  ['5d000080', 'an lzma file'],
  ['1f9d', 'a compress (.Z) file'],
  ['213c617263683e', 'an ar archive (.deb or .a)'],
  ['edabeedb', 'an rpm package'],
  ['7f454c46', 'a program (ELF)'],
  ['cffaedfe', 'a program (Mach-O)'],
  ['25504446', 'a PDF'],
]

/** Tells what a file is by its first bytes, and a zip with something before it by its last. */
export async function tellArchive(file: string): Promise<ArchiveKind> {
  const handle = await open(file, 'r')
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(512), 0, 512, 0)
    const head = buffer.subarray(0, bytesRead)
    if (head.length >= 2 && head.readUInt16BE(0) === 0x1f8b) return { kind: 'tar-gz' }
    const signature = head.length >= 4 ? head.readUInt32LE(0) : 0
    // Third: an empty zip. Anything else before the first entry is refused later, by its rule.
    if (signature === 0x04034b50 || signature === 0x06054b50) return { kind: 'zip' }
    if (isTarHeader(head)) return { kind: 'tar' }
    const { size } = await handle.stat()
    if (await endsAsZip(handle, size)) return { kind: 'zip' }
    const name = OTHERS.find(([hex]) => head.toString('hex').startsWith(hex))?.[1]
    return name === undefined ? { kind: 'other' } : { kind: 'other', name }
  } finally {
    await handle.close()
  }
}

/** A tar has no signature at its start, but every header has a checksum. */
function isTarHeader(head: Buffer): boolean {
  if (head.length < 512) return false
  const field = head.toString('latin1', 148, 156)
  const sum = /^ *([0-7]{1,7})[ \0]/.exec(`${field} `)?.[1]
  if (sum === undefined) return false
  // While it is taken, the field itself counts as eight spaces.
  const bytes = head.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 0x20 : byte), 0)
  return bytes === Number.parseInt(sum, 8)
}

/** Whether a file without a zip's first bytes still has its end record, as with bytes put before it. */
async function endsAsZip(handle: FileHandle, size: number): Promise<boolean> {
  const length = Math.min(size, 22)
  const { buffer } = await handle.read(Buffer.alloc(length), 0, length, size - length)
  return length === 22 && buffer.readUInt32LE(0) === 0x06054b50
}
