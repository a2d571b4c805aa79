import { createHash } from 'node:crypto'
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import zlib from 'node:zlib'
import { describe, expect, test } from '@jest/globals'
import {
  endRecord,
  pax,
  tar,
  tarGz,
  tarPart,
  type TarPart,
  zip,
  type ZipOptions,
  type ZipPart,
} from './archive-builders.ts'
import { unpackArchive } from '../../src/host/fetch/archive.ts'
import { DEFAULT_LIMITS } from '../../src/host/fetch/limits.ts'
import { takeCode } from '../../src/worker/take-code.ts'
import { createFolder, fetchBytes, type Outcome } from './servers.ts'

const good: TarPart = { name: 'good.txt', data: 'good' }

/** A refusal names the rule, leaves the workspace empty and nothing beside it. */
function expectRefused(outcome: Outcome, rule: string, entry = ''): void {
  expect(outcome.failure?.reason).toBe('archive_refused')
  expect(outcome.failure?.detail.slice(0, rule.length + 1)).toBe(`${rule}:`)
  expect(outcome.failure?.detail).toContain(entry)
  expect(outcome.failure?.detail.length).toBeLessThan(500)
  expect(outcome.tree).toEqual({})
  expect(outcome.beside).toEqual(['workspace'])
}

describe('a tar.gz', () => {
  test('is unpacked with its folders, modes and links', async () => {
    const outcome = await fetchBytes(
      tarGz([
        { name: './', type: '5' },
        { name: './a/', type: '5' },
        { name: './a/run.sh', data: 'echo', mode: 0o755 },
        { name: 'b/deep/file', data: 'x'.repeat(100_000) },
        { name: 'b/link', type: '2', link: '../a/run.sh' },
        { name: 'b/dangling', type: '2', link: 'nowhere' },
        { name: 'b/hard', type: '1', link: 'a/run.sh' },
        pax({ path: 'long/ü' }),
        { name: 'short', data: 'pax' },
      ]),
    )
    expect(outcome.failure).toBeUndefined()
    expect(outcome.tree).toEqual({
      a: '/',
      'a/run.sh': 'echo',
      b: '/',
      'b/dangling': '-> nowhere',
      'b/deep': '/',
      'b/deep/file': 'x'.repeat(100_000),
      'b/hard': 'echo',
      'b/link': '-> ../a/run.sh',
      long: '/',
      'long/ü': 'pax',
    })
    expect(outcome.stages).toEqual(['fetching_code', 'verifying'])
    expect(outcome.beside).toEqual(['workspace'])
  })

  test('with one top folder becomes the workspace without that folder, and says so', async () => {
    const outcome = await fetchBytes(
      tarGz([
        { name: 'repo-main/', type: '5' },
        { name: 'repo-main/a', data: '1' },
      ]),
    )
    expect(outcome.tree).toEqual({ a: '1' })
    expect(outcome.notes.join()).toContain('"repo-main"')
  })

  test.each<[string, string, (TarPart | Buffer)[], string]>([
    ['R1', 'parent-folder', [{ name: '../moo' }], '../moo'],
    ['R2', 'absolute-path', [{ name: '/tmp/moo' }], '/tmp/moo'],
    ['R3', 'absolute-path', [{ name: '//tmp/moo' }], '//tmp/moo'],
    ['R4', 'parent-folder', [{ name: 'tmp/../../moo' }], 'tmp/../../moo'],
    ['R4', 'parent-folder', [{ name: 'a/..' }], 'a/..'],
    ['R5', 'backslash', [{ name: '..\\x' }], '..\\x'],
    ['R5', 'drive-name', [{ name: 'C:x' }], 'C:x'],
    ['R5', 'backslash', [{ name: 'C:\\x' }], 'C:\\x'],
    ['R6', 'link-outside', [{ name: 'l', type: '2', link: '/etc/passwd' }], '/etc/passwd'],
    ['R6', 'link-outside', [{ name: 'a/l', type: '2', link: '../../x' }], 'a/l'],
    ['R7', 'through-link', [{ name: 'd', type: '2', link: '.' }, { name: 'd/moo' }], 'd/moo'],
    ['R7', 'link-outside', [{ name: 'd', type: '2', link: '/tmp' }], 'd'],
    [
      'R8',
      'link-outside',
      [
        { name: 'cur', type: '2', link: '.' },
        { name: 'par', type: '2', link: 'cur/..' },
      ],
      'par',
    ],
    [
      'R8',
      'through-link',
      [
        { name: 'cur', type: '2', link: '.' },
        { name: 'par', type: '2', link: 'cur/..' },
        { name: 'par/moo', data: 'x' },
      ],
      'par/moo',
    ],
    [
      'R8',
      'link-loop',
      [
        { name: 'a', type: '2', link: 'b/x' },
        { name: 'b', type: '2', link: 'a' },
      ],
      'link',
    ],
    ['R9', 'absolute-path', [{ name: 'h', type: '1', link: '/etc/passwd' }], '/etc/passwd'],
    ['R9', 'parent-folder', [{ name: 'h', type: '1', link: '../x' }], '../x'],
    ['R9', 'hardlink-target', [{ name: 'h', type: '1', link: 'absent' }], 'h'],
    [
      'R10',
      'hardlink-target',
      [
        { name: 'b', type: '2', link: 'd' },
        { name: 'd/c', data: 'x' },
        { name: 'h', type: '1', link: 'b/c' },
      ],
      'h',
    ],
    [
      'R10',
      'link-outside',
      [
        { name: 'd/up', type: '2', link: '../good.txt' },
        { name: 'h', type: '1', link: 'd/up' },
      ],
      'h',
    ],
    [
      'R10',
      'link-loop',
      [
        { name: 'a', type: '1', link: 'b' },
        { name: 'b', type: '1', link: 'a' },
      ],
      '',
    ],
    ['R11', 'drive-name', [{ name: 'h', type: '1', link: 'C:../x' }], 'C:../x'],
    ['R12', 'special-file', [{ name: 'null', type: '3' }], 'null'],
    ['R12', 'special-file', [{ name: 'sda', type: '4' }], 'sda'],
    ['R12', 'special-file', [{ name: 'pipe', type: '6' }], 'pipe'],
    ['R12', 'special-file', [{ name: 'vol', type: 'V' }], 'vol'],
    ['R14', 'odd-header', [pax({ path: 'a\0/../../etc/passwd' }), { name: 'x' }], '\\u0000'],
    ['R14', 'control-character', [{ name: 'a\nb' }], 'a\\u000ab'],
    ['R15', 'odd-header', [{ name: 'x', sizeField: Buffer.alloc(12, 0xff) }], ''],
    ['R15', 'odd-header', [pax({ size: '-512' }), { name: 'x', data: 'y' }], ''],
    ['R16', 'same-name-in-another-form', [{ name: 'A' }, { name: 'a' }], '"A"'],
    ['R16', 'same-name-in-another-form', [{ name: 'A/x' }, { name: 'a/y' }], 'a/y'],
    ['R16', 'same-name-in-another-form', [{ name: 'é' }, { name: 'e\u0301' }], ''],
    [
      'R16',
      'duplicate-name',
      [
        { name: 'a', data: '1' },
        { name: './a', data: '2' },
      ],
      './a',
    ],
    [
      'R16',
      'duplicate-name',
      [
        { name: 'a/', type: '5' },
        { name: 'a', data: '2' },
      ],
      'a',
    ],
    [
      'R16',
      'through-link',
      [
        { name: 'a', data: '1' },
        { name: 'a/b', data: '2' },
      ],
      'a/b',
    ],
    ['R24', 'name-too-long', [pax({ path: 'n'.repeat(256) }), { name: 'x' }], 'nnn'],
    ['R24', 'name-too-long', [pax({ path: 'd/'.repeat(2000) + 'x' }), { name: 'x' }], 'd/d'],
    ['R24', 'too-deep', [pax({ path: 'd/'.repeat(500) + 'x' }), { name: 'x' }], 'd/d'],
    ['R29', 'sparse-file', [{ name: 'sparse', type: 'S' }], 'sparse'],
    [
      'R29',
      'sparse-file',
      [pax({ 'GNU.sparse.major': '1', 'GNU.sparse.realsize': '9223372036854775807' }), { name: 'x' }],
      '',
    ],
    ['R29', 'too-large', [{ name: 'big', sizeField: Buffer.from('800000000010000000000000', 'hex') }], 'big'],
  ])('%s is refused by the rule %s', async (_row, rule, parts, entry) => {
    expectRefused(await fetchBytes(tarGz([good, ...parts])), rule, entry)
  })

  test('R13: setuid and setgid bits are cleared', async () => {
    await using server = await createFolder()
    const file = `${server.path}/a`
    await writeFile(file, tarGz([{ name: 'suid', data: 'x', mode: 0o6777 }]))
    await mkdir(`${server.path}/t`)
    await unpackArchive(file, '', `${server.path}/t`, {
      limits: DEFAULT_LIMITS,
      signal: new AbortController().signal,
      root: () => '',
      outsideLinks: 'refuse',
    })
    expect((await stat(`${server.path}/t/suid`)).mode & 0o7777).toBe(0o755 & ~process.umask())
  })

  test('R17: an .npmrc and an .ssh folder are noted', async () => {
    const outcome = await fetchBytes(tarGz([good, { name: '.npmrc', data: 'x' }, { name: '.ssh/config', data: 'x' }]))
    expect(outcome.tree).toMatchObject({ '.npmrc': 'x', '.ssh/config': 'x' })
    expect(outcome.notes).toEqual(['the code brings its own .npmrc', 'the code brings its own .ssh'])
  })

  test('R25: with a gzip around its gzip is refused', async () => {
    let bytes: Buffer = tarGz([good])
    for (let i = 0; i < 10; i += 1) bytes = zlib.gzipSync(bytes)
    expectRefused(await fetchBytes(bytes), 'nested-gzip')
  })

  test('R25: keeps an entry that is a gzip file as a plain file', async () => {
    const outcome = await fetchBytes(tarGz([{ name: 'a.gz', data: zlib.gzipSync('x') }, good]))
    expect(Object.keys(outcome.tree)).toEqual(['a.gz', 'good.txt'])
  })

  test('R26: that is cut off or damaged is refused', async () => {
    const whole = tarGz([{ name: 'a', data: createHash('sha512').update('x').digest() }, good])
    expectRefused(await fetchBytes(whole.subarray(0, whole.length - 20)), 'broken')
    const flipped = Buffer.from(whole)
    flipped.writeUInt32LE(1, whole.length - 8)
    expectRefused(await fetchBytes(flipped), 'broken')
    expectRefused(
      await fetchBytes(zlib.gzipSync(tarPart({ name: 'a', data: 'x'.repeat(5000) }).subarray(0, 1000))),
      'odd-header',
    )
  })

  test('R30: without files is refused', async () => {
    expectRefused(await fetchBytes(tarGz([])), 'empty')
    expectRefused(await fetchBytes(tarGz([{ name: 'd/', type: '5' }])), 'empty')
  })

  test('without a tar in its gzip is not an archive', async () => {
    const outcome = await fetchBytes(zlib.gzipSync('hello '.repeat(500)))
    expect(outcome.failure?.reason).toBe('not_an_archive')
  })

  test('may be a plain tar, whatever its name', async () => {
    expect((await fetchBytes(tar([good, { name: 'd/x', data: '1' }]))).tree).toMatchObject({ 'good.txt': 'good' })
    expectRefused(await fetchBytes(tar([good, { name: '../moo' }])), 'parent-folder', '../moo')
    expectRefused(await fetchBytes(tar([good, { name: 'b', data: 'x'.repeat(2000) }]).subarray(0, 2000)), 'odd-header')
    expect((await fetchBytes(tar([good]), { path: '/a.zip' })).tree).toEqual({ 'good.txt': 'good' })
    expect((await fetchBytes(tar([good]))).notes).toEqual([])
    const cut = await fetchBytes(tar([good, { name: 'b', data: '1' }]).subarray(0, 1024))
    expect(cut.tree).toEqual({ 'good.txt': 'good' })
    expect(cut.notes.join()).toContain('no end mark')
    const broken = tar([good])
    broken[0] = 0x41
    expect((await fetchBytes(broken)).failure?.reason).toBe('not_an_archive')
  })

  test.each([
    ['xz', 'fd377a585a000004', /an xz file.*Pack it/],
    ['zstd', '28b52ffd20000000', /a zstd file/],
    ['bzip2', '425a683931415926', /a bzip2 file/],
    ['7z', '377abcaf271c0004', /a 7z archive/],
    ['rar', '526172211a070100', /a rar archive/],
    ['a program', '7f454c4602010100', /a program/],
  ])('that is really %s is refused with its real kind', async (_kind, hex, words) => {
    const body = Buffer.concat([Buffer.from(hex, 'hex'), Buffer.alloc(2000, 0x55)])
    const { failure, tree } = await fetchBytes(body)
    expect(failure?.reason).toBe('not_an_archive')
    expect(failure?.detail).toMatch(words)
    expect(tree).toEqual({})
  })

  test('may have extended headers over 64 KiB, but not over 1 MiB', async () => {
    const icon = (bytes: number): Buffer => pax({ 'SCHILY.xattr.icon': 'i'.repeat(bytes), path: 'long/name' })
    expect((await fetchBytes(tarGz([icon(200_000), { name: 'x', data: '1' }, good]))).tree).toMatchObject({
      'long/name': '1',
    })
    expectRefused(await fetchBytes(tarGz([icon(1_100_000), { name: 'x', data: '1' }, good])), 'odd-header', '1 MiB')
  })

  test('may name entries by GNU’s own headers', async () => {
    const long = `${'d'.repeat(90)}/${'n'.repeat(90)}`
    const outcome = await fetchBytes(
      tarGz([
        good,
        { name: '././@LongLink', type: 'L', data: `${long}\0` },
        { name: long.slice(0, 100), data: '1' },
        { name: '././@LongLink', type: 'K', data: `${long}\0` },
        { name: 'l', type: '2', link: long.slice(0, 100) },
      ]),
    )
    expect(outcome.failure).toBeUndefined()
    expect(outcome.tree).toMatchObject({ [long]: '1', l: `-> ${long}` })
  })

  test('resolves hard links to a symbolic link and to a hard link as those resolve', async () => {
    const outcome = await fetchBytes(
      tarGz([
        good,
        { name: 'l', type: '2', link: 'good.txt' },
        { name: 'h1', type: '1', link: 'l' },
        { name: 'h2', type: '1', link: 'h1' },
        { name: 'f1', type: '1', link: 'good.txt' },
        { name: 'f2', type: '1', link: 'f1' },
      ]),
    )
    expect(outcome.failure).toBeUndefined()
    expect(outcome.tree).toMatchObject({ h1: '-> good.txt', h2: '-> good.txt', f1: 'good', f2: 'good' })
  })
})

const file: ZipPart = { name: 'good.txt', data: 'good' }
const link = (target: string, name = 'l'): ZipPart => ({ name, data: target, mode: 0o120777, stored: true })

describe('a name or a target with the character U+FFFD', () => {
  const [name, target] = ['d/a\ufffdb', 'a\ufffdb']
  const bad = Buffer.from([0x61, 0xff, 0x62])
  // One more, so that d is no single top folder.
  const whole = { d: '/', 'd/a\ufffdb': '1', 'd/l': '-> a\ufffdb', 'good.txt': 'good' }

  test('is one like others in a tar', async () => {
    const link = { name: 'd/l', type: '2', link: target }
    expect((await fetchBytes(tar([good, { name, data: '1' }, link]))).tree).toEqual(whole)
    const extended = [good, pax({ path: name }), { name: 'x', data: '1' }, pax({ linkpath: target }), link]
    expect((await fetchBytes(tarGz(extended))).tree).toEqual(whole)
    expectRefused(await fetchBytes(tar([good, { name: bad, data: '1' }])), 'not-utf8', 'a\ufffdb')
  })

  test('is one like others in a zip', async () => {
    const link = { name: 'd/l', data: target, mode: 0o120777 }
    const bytes = zip([{ name: 'good.txt', data: 'good' }, { name, data: '1' }, link])
    expect((await fetchBytes(bytes)).tree).toEqual(whole)
  })
})

describe('a zip', () => {
  const fetchZip = (parts: readonly ZipPart[], options?: ZipOptions): Promise<Outcome> =>
    fetchBytes(zip(parts, options), { path: '/code.zip' })

  test('is unpacked with its folders, modes and links', async () => {
    const outcome = await fetchZip([
      { name: 'a/' },
      { name: 'a/run.sh', data: 'echo', mode: 0o100755 },
      { name: 'b/ü', data: 'x'.repeat(100_000) },
      { name: 'b/streamed', data: 'y'.repeat(1000), flags: 0x808, localSize: 0 },
      { name: 'b/stored.zip', data: zip([file]), stored: true },
      link('../a/run.sh', 'b/l'),
    ])
    expect(outcome.failure).toBeUndefined()
    expect(outcome.tree).toEqual({
      a: '/',
      'a/run.sh': 'echo',
      b: '/',
      'b/l': '-> ../a/run.sh',
      'b/stored.zip': zip([file]).toString(),
      'b/streamed': 'y'.repeat(1000),
      'b/ü': 'x'.repeat(100_000),
    })
  })

  test.each<[string, string, ZipPart[], string]>([
    ['R1', 'parent-folder', [{ name: '../moo' }], '../moo'],
    ['R2', 'absolute-path', [{ name: '/tmp/moo' }], '/tmp/moo'],
    ['R3', 'absolute-path', [{ name: '//tmp/moo' }], '//tmp/moo'],
    ['R4', 'parent-folder', [{ name: 'tmp/../../moo' }], 'tmp/../../moo'],
    ['R5', 'backslash', [{ name: '..\\moo' }], '..\\moo'],
    ['R5', 'drive-name', [{ name: 'C:x' }], 'C:x'],
    ['R6', 'link-outside', [link('/etc/passwd')], '/etc/passwd'],
    ['R7', 'through-link', [link('.'), { name: 'l/moo', data: 'x' }], 'l/moo'],
    ['R8', 'link-outside', [link('.', 'cur'), link('cur/..', 'par')], 'par'],
    ['R12', 'special-file', [{ name: 'pipe', mode: 0o010644 }], 'pipe'],
    ['R14', 'control-character', [{ name: 'a\0b', data: 'x' }], 'a\\u0000b'],
    [
      'R16',
      'same-name-in-another-form',
      [
        { name: 'A', data: '1' },
        { name: 'a', data: '2' },
      ],
      '"A"',
    ],
    [
      'R16',
      'duplicate-name',
      [
        { name: 'a', data: '1' },
        { name: 'a', data: '2' },
      ],
      '"a"',
    ],
    ['R20', 'broken', [{ name: 'a', data: 'abc'.repeat(99), claimedSize: 5 }], 'too many bytes'],
    ['R20', 'broken', [{ name: 'a', data: 'abc'.repeat(99), claimedSize: 5000 }], 'not enough bytes'],
    ['R20', 'size-mismatch', [{ name: 'a', data: 'abc'.repeat(99), localSize: 5 }], '"a"'],
    ['R21', 'name-mismatch', [{ name: 'a', localName: 'b', data: 'x' }], '"b"'],
    ['R24', 'name-too-long', [{ name: 'n'.repeat(256) }], 'nnn'],
    ['R24', 'too-deep', [{ name: `${'d/'.repeat(200)}x` }], 'd/d'],
    ['R26', 'crc-mismatch', [{ name: 'a', data: 'abc', crc: 1 }], '"a"'],
    ['R27', 'encrypted', [{ name: 'a', data: 'abc', flags: 0x801, stored: false }], '"a"'],
    ['kind', 'compression-method', [{ name: 'a', data: 'abc', method: 14 }], '14'],
    ['kind', 'size-mismatch', [{ name: 'a/', data: 'abc' }], '"a/"'],
    ['kind', 'not-utf8', [{ name: Buffer.from([0x61, 0xff, 0xfe]), data: 'x' }], ''],
    ['kind', 'not-utf8', [{ name: 'l', data: Buffer.from([0xff, 0xfe]), mode: 0o120777, stored: true }], '"l"'],
    ['kind', 'empty-name', [{ name: '.', data: 'x' }], '"."'],
    ['kind', 'name-too-long', [link('x'.repeat(2000))], '"l"'],
  ])('%s is refused by the rule %s', async (_row, rule, parts, entry) => {
    expectRefused(await fetchZip([file, ...parts]), rule, entry)
  })

  /** The Info-ZIP Unicode Path field: a name, and the CRC of the plain name it belongs to. */
  const unicodePath = (name: string | Buffer, of: string | Buffer, version = 1): Buffer => {
    const head = Buffer.alloc(9)
    head.writeUInt16LE(0x7075, 0)
    head.writeUInt16LE(5 + Buffer.byteLength(name), 2)
    head[4] = version
    head.writeUInt32LE(zlib.crc32(of), 5)
    return Buffer.concat([head, Buffer.from(name)])
  }

  test('names an entry by the Unicode field that matches, else by UTF-8, else by cp437', async () => {
    const cp437 = Buffer.from([0x6d, 0x81, 0x6c, 0x6c])
    const outcome = await fetchZip([
      { name: 'm_ll', data: '1', extra: unicodePath('müll', 'm_ll'), flags: 0 },
      { name: 'renamed', data: '2', extra: unicodePath('before', 'before'), flags: 0 },
      { name: 'ver', data: '3', extra: unicodePath('x', 'ver', 2), flags: 0 },
      { name: Buffer.concat([cp437, Buffer.from('.txt')]), data: '4', flags: 0 },
      { name: 'ü8', data: '5', flags: 0 },
    ])
    expect(outcome.failure).toBeUndefined()
    expect(outcome.tree).toEqual({ müll: '1', renamed: '2', ver: '3', 'müll.txt': '4', ü8: '5' })
  })

  test('R21: is checked with the name that is used', async () => {
    expectRefused(await fetchZip([{ name: 'a', data: 'x', extra: unicodePath('../x', 'a') }]), 'parent-folder', '../x')
    const twice = [
      { name: 'a', data: 'x', extra: unicodePath('b', 'a') },
      { name: 'b', data: 'x' },
    ]
    expectRefused(await fetchZip(twice), 'duplicate-name', '"b"')
    const bytes = Buffer.from([0x61, 0xff])
    expectRefused(await fetchZip([{ name: 'a', data: 'x', extra: unicodePath(bytes, 'a') }]), 'not-utf8', '"a"')
  })

  test.each([
    ['a few bytes', Buffer.from('\r\n')],
    ['zeros', Buffer.alloc(40_000)],
  ])('with bytes after its end ignores and mentions them: %s', async (_case, tail) => {
    const outcome = await fetchBytes(Buffer.concat([zip([file], { comment: Buffer.from('hi') }), tail]), {
      path: '/a.zip',
    })
    expect(outcome.failure).toBeUndefined()
    expect(outcome.tree).toEqual({ 'good.txt': 'good' })
    expect(outcome.notes).toEqual([`the zip is followed by ${tail.length} bytes that are not part of it`])
  })

  test('R28: with a second zip after its end is refused', async () => {
    const two = Buffer.concat([zip([file]), zip([{ name: 'b', data: '2' }])])
    expectRefused(await fetchBytes(two, { path: '/a.zip' }), 'leading-bytes')
    const refused = async (tail: Buffer, rule: string): Promise<void> =>
      expectRefused(await fetchBytes(Buffer.concat([zip([file]), tail]), { path: '/a.zip' }), rule)
    await refused(endRecord(1, 7, 9), 'leading-bytes')
    await refused(Buffer.concat([endRecord(1, 7, 9), Buffer.from('x')]), 'two-directories')
    await refused(Buffer.concat([zip([{ name: 'b', data: '2' }]), Buffer.from('x')]), 'two-directories')
  })

  test('R18: whose entries share bytes is refused', async () => {
    const kernel: ZipPart = { name: 'a', data: Buffer.alloc(1_000_000) }
    const packed = zlib.deflateRawSync(Buffer.alloc(1_000_000)).length
    const twins = Array.from({ length: 500 }, (): ZipPart => ({ ...kernel, at: 0, compressedSize: packed }))
    expectRefused(await fetchZip([kernel, ...twins]), 'overlap', '"a"')
  })

  test('R19: with a header quoted inside the data of another entry is refused', async () => {
    // As in zblg: the first entry's data holds the second entry's local header and data in a stored deflate block.
    const inner = zip([{ name: 'b', data: 'x'.repeat(1000) }])
    const local = inner.subarray(0, inner.lastIndexOf(Buffer.from([0x50, 0x4b, 0x01, 0x02])))
    const outer: ZipPart = { name: 'a', data: local, stored: true }
    const at = 30 + 1
    const second: ZipPart = { name: 'b', data: 'x'.repeat(1000), at }
    expectRefused(await fetchZip([outer, second]), 'overlap', '"b"')
  })

  test('R20: whose zip64 records contradict the others is refused', async () => {
    const plain = zip([file])
    const end = plain.length - 22
    const record = Buffer.alloc(56)
    record.writeUInt32LE(0x06064b50, 0)
    record.writeBigUInt64LE(44n, 4)
    record.writeBigUInt64LE(7n, 24)
    record.writeBigUInt64LE(7n, 32)
    record.writeBigUInt64LE(BigInt(plain.readUInt32LE(end + 12)), 40)
    record.writeBigUInt64LE(BigInt(plain.readUInt32LE(end + 16)), 48)
    const locator = Buffer.alloc(20)
    locator.writeUInt32LE(0x07064b50, 0)
    locator.writeBigUInt64LE(BigInt(end), 8)
    locator.writeUInt32LE(1, 16)
    const body = Buffer.concat([plain.subarray(0, end), record, locator, plain.subarray(end)])
    expectRefused(await fetchBytes(body, { path: '/a.zip' }), 'size-mismatch')
  })

  test('R20: whose directory has more entries than its end record says is refused', async () => {
    expectRefused(await fetchZip([file, { name: 'b', data: '2' }], { count: 1 }), 'size-mismatch')
  })

  test('R26: that is cut off is refused', async () => {
    expectRefused(await fetchBytes(zip([file]).subarray(0, 60), { path: '/a.zip' }), 'broken')
  })

  test('R28: with bytes before the first entry is refused', async () => {
    expectRefused(await fetchZip([file], { before: Buffer.alloc(64 * 1024, 0x41) }), 'leading-bytes')
  })

  test('R28: with bytes before the first entry is refused even when all offsets include them', async () => {
    const junk = Buffer.alloc(1000, 0x41)
    const plain = zip([file])
    const start = plain.readUInt32LE(plain.length - 6)
    const directory = Buffer.from(plain.subarray(start, plain.length - 22))
    directory.writeUInt32LE(junk.length, 42)
    const body = Buffer.concat([
      junk,
      plain.subarray(0, start),
      directory,
      endRecord(1, directory.length, junk.length + start),
    ])
    expectRefused(await fetchBytes(body, { path: '/a.zip' }), 'leading-bytes')
  })

  test('R28: with a second end record in its comment is refused', async () => {
    expectRefused(await fetchZip([file], { comment: endRecord(0, 0, 0) }), 'two-directories')
  })

  test('R30: without files is refused', async () => {
    expectRefused(await fetchZip([]), 'empty')
    expectRefused(await fetchZip([{ name: 'd/' }]), 'empty')
  })
})

describe('the times of files and folders', () => {
  async function times(body: Buffer): Promise<Record<string, number>> {
    await using parent = await createFolder()
    const target = path.join(parent.path, 'tree')
    await mkdir(target)
    const archive = path.join(parent.path, 'archive')
    await writeFile(archive, body)
    const signal = new AbortController().signal
    const options = { limits: DEFAULT_LIMITS, signal, root: () => '', outsideLinks: 'refuse' as const }
    await unpackArchive(archive, '', target, options)
    // As in the workspace: the session's user gets a copy.
    const workspace = path.join(parent.path, 'workspace')
    await takeCode(target, workspace, signal)
    const names = await readdir(workspace, { recursive: true })
    const stats = await Promise.all(names.map(async (name) => [name, (await stat(path.join(workspace, name))).mtimeMs]))
    return Object.fromEntries(stats) as Record<string, number>
  }

  test('in a tar are kept, so that make rebuilds nothing', async () => {
    const seen = await times(
      tarGz([
        { name: 'd/', type: '5', mtime: 1_000_000_300 },
        { name: 'd/configure', mtime: 1_000_000_200 },
        { name: 'd/configure.ac', mtime: 1_000_000_100 },
        { name: 'd/hard', type: '1', link: 'd/configure' },
        pax({ mtime: '1000000050.25' }),
        { name: 'fine' },
        { name: 'zero' },
        { name: 'tomorrow', mtime: Math.floor(Date.now() / 1000) + 86_400 },
      ]),
    )
    expect(seen['tomorrow']).toBeLessThanOrEqual(Date.now())
    delete seen['tomorrow']
    expect(seen).toEqual({
      d: 1_000_000_300_000,
      'd/configure': 1_000_000_200_000,
      'd/configure.ac': 1_000_000_100_000,
      'd/hard': 1_000_000_200_000,
      fine: 1_000_000_050_250,
      zero: 0,
    })
  })

  test('in a zip are kept, by their fields or else by the old format', async () => {
    const unix = Buffer.from([0x55, 0x54, 5, 0, 1, 0, 0, 0, 0])
    unix.writeInt32LE(1_000_000_000, 5)
    const dosTime = (((2001 - 1980) << 25) | (9 << 21) | (9 << 16) | (1 << 11) | (46 << 5) | 20) >>> 0
    const seen = await times(
      zip([
        { name: 'd/', extra: unix },
        { name: 'd/a', data: '1', extra: unix, dosTime },
        { name: 'b', data: '1', dosTime },
        { name: 'none', data: '1' },
      ]),
    )
    expect(seen['none']).toBeGreaterThan(Date.now() - 60_000)
    delete seen['none']
    expect(seen).toEqual({ d: 1_000_000_000_000, 'd/a': 1_000_000_000_000, b: 1_000_000_000_000 })
  })
})

describe('what is left out of an archive', () => {
  const packed = [
    { name: '.git/hooks/post-checkout', data: 'x' },
    { name: 'sub/.GIT/config', data: 'x' },
    { name: 'git~1/config', data: 'x' },
    { name: 'g/.g\u200cit/config', data: 'x' },
    { name: 'w/.git', data: 'gitdir: /elsewhere' },
    { name: '.venv/bin/tool', data: 'x' },
    { name: '.gitignore', data: 'i' },
    { name: 'node_modules/m/index.js', data: 'm' },
    { name: 'src/a', data: '1' },
  ]
  const kept = {
    '.gitignore': 'i',
    node_modules: '/',
    'node_modules/m': '/',
    'node_modules/m/index.js': 'm',
    src: '/',
    'src/a': '1',
  }
  test.each([
    ['tar.gz', tarGz([...packed, { name: '.venv/bin/python', type: '2', link: '/usr/bin/python3' }])],
    ['zip', zip([...packed, { name: '.venv/bin/python', data: '/usr/bin/python3', mode: 0o120777, stored: true }])],
  ])('R17: is .git in any spelling and .venv, with a remark: %s', async (_kind, body) => {
    const outcome = await fetchBytes(body)
    expect(outcome.failure).toBeUndefined()
    expect(outcome.tree).toEqual(kept)
    expect(outcome.notes.join()).toMatch(/^left out: "\.git", "sub\/\.GIT", "git~1", … \(6 in all\); the hooks/)
  })

  test('makes no other rule milder', async () => {
    expectRefused(await fetchBytes(tarGz([{ name: '.git/../../x', data: '1' }, good])), 'parent-folder')
    expectRefused(await fetchBytes(tarGz([{ name: '.git/x', data: '1' }])), 'empty')
    const hard = [good, { name: '.git/x', data: '1' }, { name: 'h', type: '1', link: '.git/x' }]
    expectRefused(await fetchBytes(tarGz(hard)), 'hardlink-target')
  })
})

test('by macOS beside a folder does not keep that folder from becoming the workspace', async () => {
  const outcome = await fetchBytes(
    zip([
      { name: 'app/a', data: '1' },
      { name: '__MACOSX/app/._a', data: 'm' },
    ]),
  )
  expect(outcome.tree).toEqual({ a: '1' })
})

test('hostile names are escaped and shortened in the message', async () => {
  const outcome = await fetchBytes(tarGz([pax({ path: `../\x1b[31m\u202e${'x'.repeat(2000)}` }), { name: 'x' }]))
  expect(outcome.failure?.detail).toContain('\\u001b[31m\\u202e')
  expect(outcome.failure?.detail).not.toMatch(/[\x1b\u202e]/)
  expect(outcome.failure?.detail.length).toBeLessThan(300)
})
