/** F4: every bomb is refused in under a second, with little memory and nothing in the workspace. */
import { spawn } from 'node:child_process'
import { createReadStream, createWriteStream } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { once } from 'node:events'
import zlib from 'node:zlib'
import { describe, expect, test } from '@jest/globals'
import { tarPart, zip, type ZipPart } from './archive-builders.ts'
import { createFolder, readTree, startServer, type TestServer } from './servers.ts'

interface Measured {
  readonly reason: string
  readonly detail: string
  /** Processor time of all threads: the elapsed time depends on what else the machine does. */
  readonly cpuMs: number
  readonly rssGrowthMiB: number
}

/** Fetches in a process of its own, so that its memory is its own. It runs the built code. */
async function measure(server: TestServer, targetDir: string): Promise<Measured> {
  const script = `
    import { existsSync, readFileSync } from 'node:fs'
    import { fetchCode } from ${JSON.stringify(new URL('../../dist/host/fetch/fetch-code.js', import.meta.url).href)}
    // Linux's maxRSS counts the parent of before exec; VmHWM does not.
    const highWater = () => existsSync('/proc/self/status')
      ? Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1])
      : process.resourceUsage().maxRSS
    const options = {
      url: '${server.origin}/bomb.zip', checksumSha256: null, targetDir: process.argv[1], onStage() {},
      policy: { codeHosts: [], unsafeHosts: ['127.0.0.1:${server.port}'], localFolders: false },
      signal: new AbortController().signal,
    }
    const before = highWater()
    const started = process.cpuUsage()
    let failure = {}
    try { await fetchCode(options) } catch (error) { failure = error }
    const { user, system } = process.cpuUsage(started)
    const cpuMs = (user + system) / 1000
    const rssGrowthMiB = (highWater() - before) / 1024
    console.log(JSON.stringify({ reason: failure.reason, detail: failure.detail, cpuMs, rssGrowthMiB }))
  `
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, targetDir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let out = ''
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  await once(child, 'close')
  return JSON.parse(out) as Measured
}

async function expectBomb(write: (file: string) => Promise<void>, rule: string): Promise<void> {
  await using folder = await createFolder()
  await using workspace = await createFolder()
  const file = path.join(folder.path, 'bomb')
  await write(file)
  await using server = await startServer((_request, response) => void createReadStream(file).pipe(response))
  const measured = await measure(server, path.join(workspace.path, 'workspace'))
  if (process.env['SHOW_FIGURES']) console.log(measured)
  expect(measured).toMatchObject({ reason: 'archive_refused' })
  expect(measured.detail).toMatch(new RegExp(`^(${rule}):`))
  // Under 1 s on an idle machine (F4); the bound leaves room for a busy one.
  expect(measured.cpuMs).toBeLessThan(4000)
  expect(measured.rssGrowthMiB).toBeLessThan(128)
  expect(await readTree(workspace.path)).toEqual({ workspace: '/' })
}

/** A gzip of a head and then `mebibytes` of zeros, without holding them. */
async function writeZeros(file: string, head: Buffer, mebibytes: number): Promise<void> {
  const gzip = zlib.createGzip({ level: 1 })
  const out = gzip.pipe(createWriteStream(file))
  gzip.write(head)
  const block = Buffer.alloc(1024 * 1024)
  for (let i = 0; i < mebibytes; i += 1) if (!gzip.write(block)) await once(gzip, 'drain')
  gzip.end()
  await once(out, 'close')
}

const octal = (size: number): Buffer => Buffer.from(`${size.toString(8).padStart(11, '0')}\0`)

describe('a bomb', () => {
  test('R22: of gigabytes of zeros is refused for its size', () =>
    expectBomb(
      (file) => writeZeros(file, tarPart({ name: 'zeros', sizeField: octal(8 * 1024 ** 3 - 1) }), 300),
      'too-large',
    ))

  test('R22: of zeros within the size limit is refused for its ratio', () =>
    expectBomb((file) => writeZeros(file, tarPart({ name: 'zeros', sizeField: octal(1024 ** 3) }), 1024), 'bomb'))

  test('R22: with zeros after the end of its archive is refused for its ratio', () =>
    expectBomb(
      (file) => writeZeros(file, Buffer.concat([tarPart({ name: 'a', data: 'x' }), Buffer.alloc(1024)]), 1024),
      'bomb',
    ))

  test('R22: with many headers before its zeros is refused for its ratio', () =>
    expectBomb(async (file) => {
      const part = tarPart({ name: 'zeros', data: Buffer.alloc(10 * 1024 * 1024) })
      await writeFile(file, zlib.gzipSync(Buffer.concat(Array.from({ length: 15 }, () => part))))
    }, 'bomb'))

  test('R22: in a zip of zeros is refused for its ratio', () =>
    expectBomb(async (file) => {
      const part = { name: 'zeros', data: Buffer.alloc(200 * 1024 * 1024) }
      await writeFile(file, zip([part]))
    }, 'bomb'))

  test('R18: in a zip whose entries all share one kernel is refused', () =>
    expectBomb(async (file) => {
      const data = Buffer.alloc(20 * 1024 * 1024)
      const compressedSize = zlib.deflateRawSync(data).length
      const crc = zlib.crc32(data)
      const twin: ZipPart = { name: 'kernel', at: 0, compressedSize, crc, claimedSize: data.length, method: 8 }
      await writeFile(file, zip([{ name: 'kernel', data }, ...Array.from({ length: 250 }, () => twin)]))
    }, 'overlap'))

  test('R20: in a zip that claims little and holds much is refused', () =>
    expectBomb(async (file) => {
      await writeFile(file, zip([{ name: 'zeros', data: Buffer.alloc(100 * 1024 * 1024), claimedSize: 10 }]))
    }, 'broken'))

  test('R23: of a million tar entries is refused', () =>
    expectBomb(async (file) => {
      const parts = Array.from({ length: 1000 }, (_, i) => tarPart({ name: `f${i}` }))
      const thousand = Buffer.concat(parts)
      const gzip = zlib.createGzip({ level: 1 })
      const out = gzip.pipe(createWriteStream(file))
      for (let i = 0; i < 1001; i += 1) if (!gzip.write(thousand)) await once(gzip, 'drain')
      gzip.end()
      await once(out, 'close')
    }, 'too-many-entries|bomb'))

  test('R23: of a million zip entries is refused', () =>
    expectBomb(async (file) => {
      await writeFile(file, zip([{ name: 'a', data: 'x' }], { count: 0xffff - 1 }))
    }, 'broken|size-mismatch'))
})
