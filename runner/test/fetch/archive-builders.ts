/** Builds archives byte by byte, honest and hostile ones. */
import zlib from 'node:zlib'

export interface TarPart {
  readonly name: string | Buffer
  /** Type flag, '0' (file) when absent. */
  readonly type?: string
  readonly data?: Buffer | string
  readonly link?: string
  readonly mode?: number
  /** In seconds; 0 when absent. */
  readonly mtime?: number
  /** Replaces the size field's 12 bytes. */
  readonly sizeField?: Buffer
}

/** One tar header and its data, padded. */
export function tarPart(part: TarPart): Buffer {
  const data = Buffer.from(part.data ?? '')
  const header = Buffer.alloc(512)
  Buffer.from(part.name).copy(header, 0, 0, 100)
  header.write(`${(part.mode ?? 0o644).toString(8).padStart(7, '0')}\0`, 100)
  header.write('0000000\0', 108)
  header.write('0000000\0', 116)
  if (part.sizeField) part.sizeField.copy(header, 124)
  else header.write(`${data.length.toString(8).padStart(11, '0')}\0`, 124)
  header.write(`${(part.mtime ?? 0).toString(8).padStart(11, '0')}\0`, 136)
  header.write('        ', 148)
  header.write(part.type ?? '0', 156)
  header.write(part.link ?? '', 157, 100)
  header.write('ustar\x0000', 257)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return Buffer.concat([header, data, Buffer.alloc((512 - (data.length % 512)) % 512)])
}

/** A PAX extended header for the entry after it. */
export function pax(records: Record<string, string>): Buffer {
  const body = Object.entries(records).map(([key, value]) => {
    const rest = Buffer.byteLength(` ${key}=${value}\n`)
    let length = rest + String(rest).length
    if (rest + String(length).length !== length) length = rest + String(length).length
    return `${length} ${key}=${value}\n`
  })
  return tarPart({ name: 'PaxHeader', type: 'x', data: body.join('') })
}

/** A plain tar of parts; Buffers are taken as they are. */
export function tar(parts: readonly (TarPart | Buffer)[]): Buffer {
  return Buffer.concat([...parts.map((part) => (Buffer.isBuffer(part) ? part : tarPart(part))), Buffer.alloc(1024)])
}

export function tarGz(parts: readonly (TarPart | Buffer)[]): Buffer {
  return zlib.gzipSync(tar(parts))
}

export interface ZipPart {
  readonly name: string | Buffer
  readonly data?: Buffer | string
  /** Unix mode with file type; makes the entry "made by Unix". */
  readonly mode?: number
  readonly stored?: boolean
  readonly localName?: string
  readonly flags?: number
  readonly crc?: number
  /** Size that the directory claims. */
  readonly claimedSize?: number
  readonly localSize?: number
  readonly extra?: Buffer
  /** Date and time as DOS has them, the date in the upper half. */
  readonly dosTime?: number
  /** Offset of the local header that the directory claims; no local part is written. */
  readonly at?: number
  readonly compressedSize?: number
  readonly method?: number
}

export interface ZipOptions {
  readonly before?: Buffer
  readonly comment?: Buffer
  readonly count?: number
}

/** A zip file. */
export function zip(parts: readonly ZipPart[], options: ZipOptions = {}): Buffer {
  const locals: Buffer[] = options.before ? [options.before] : []
  const central: Buffer[] = []
  let offset = 0
  for (const part of parts) {
    const fields = zipFields(part)
    central.push(centralHeader(part, fields, part.at ?? offset))
    if (part.at !== undefined) continue
    const local = localPart(part, fields)
    locals.push(local)
    offset += local.length
  }
  const directory = Buffer.concat(central)
  return Buffer.concat([
    ...locals,
    directory,
    endRecord(options.count ?? parts.length, directory.length, offset, options.comment),
  ])
}

export function endRecord(count: number, bytes: number, start: number, comment: Buffer = Buffer.alloc(0)): Buffer {
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(Math.min(count, 0xffff), 8)
  end.writeUInt16LE(Math.min(count, 0xffff), 10)
  end.writeUInt32LE(bytes, 12)
  end.writeUInt32LE(start, 16)
  end.writeUInt16LE(comment.length, 20)
  return Buffer.concat([end, comment])
}

interface ZipFields {
  readonly name: Buffer
  readonly packed: Buffer
  readonly size: number
  readonly crc: number
  readonly method: number
}

function zipFields(part: ZipPart): ZipFields {
  const data = Buffer.from(part.data ?? '')
  const stored = part.stored ?? data.length === 0
  return {
    name: Buffer.from(part.name),
    packed: stored ? data : zlib.deflateRawSync(data),
    size: data.length,
    crc: part.crc ?? zlib.crc32(data),
    method: part.method ?? (stored ? 0 : 8),
  }
}

function localPart(part: ZipPart, fields: ZipFields): Buffer {
  const header = Buffer.alloc(30)
  const name = part.localName === undefined ? fields.name : Buffer.from(part.localName)
  header.writeUInt32LE(0x04034b50, 0)
  header.writeUInt16LE(20, 4)
  header.writeUInt16LE(part.flags ?? 0x800, 6)
  header.writeUInt16LE(fields.method, 8)
  header.writeUInt32LE(fields.crc, 14)
  header.writeUInt32LE(fields.packed.length, 18)
  header.writeUInt32LE(part.localSize ?? part.claimedSize ?? fields.size, 22)
  header.writeUInt16LE(name.length, 26)
  return Buffer.concat([header, name, fields.packed])
}

function centralHeader(part: ZipPart, fields: ZipFields, offset: number): Buffer {
  const header = Buffer.alloc(46)
  header.writeUInt32LE(0x02014b50, 0)
  header.writeUInt16LE(((part.mode === undefined ? 0 : 3) << 8) | 20, 4)
  header.writeUInt16LE(20, 6)
  header.writeUInt16LE(part.flags ?? 0x800, 8)
  header.writeUInt16LE(fields.method, 10)
  header.writeUInt32LE(part.dosTime ?? 0, 12)
  header.writeUInt32LE(fields.crc, 16)
  header.writeUInt32LE(part.compressedSize ?? fields.packed.length, 20)
  header.writeUInt32LE(part.claimedSize ?? fields.size, 24)
  header.writeUInt16LE(fields.name.length, 28)
  header.writeUInt16LE(part.extra?.length ?? 0, 30)
  header.writeUInt32LE(((part.mode ?? 0) << 16) >>> 0, 38)
  header.writeUInt32LE(offset, 42)
  return Buffer.concat([header, fields.name, part.extra ?? Buffer.alloc(0)])
}
