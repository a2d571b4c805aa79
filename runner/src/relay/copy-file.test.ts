import { appendFileSync, truncateSync } from 'node:fs'
import { chmod, mkdtemp, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { copyRegularFile } from './copy-file.ts'

const { signal } = new AbortController()
const MIB = 1024 * 1024
let folder: string
let from: string
let to: string
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'cliscale-copy-'))
  from = path.join(folder, 'from')
  to = path.join(folder, 'to')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

describe('a copied file', () => {
  for (const size of [0, 1, 256 * 1024, 3 * MIB + 7])
    test(`of ${size} bytes has all its bytes, its mode and its time`, async () => {
      const bytes = Buffer.alloc(size, 'abc')
      await writeFile(from, bytes)
      await chmod(from, 0o4551)
      await utimes(from, 1000, 2000)
      let count = 0
      await copyRegularFile(from, to, { signal, onBytes: (more) => (count += more) })
      expect((await readFile(to)).equals(bytes)).toBe(true)
      const { mode, mtime } = await stat(to)
      expect([mode & 0o7777, mtime.getTime(), count]).toEqual([0o551, 2_000_000, size])
    })

  test('that is shortened meanwhile ends where it now ends', async () => {
    await writeFile(from, Buffer.alloc(4 * MIB, 'a'))
    await copyRegularFile(from, to, { signal, onBytes: () => truncateSync(from, 1000) })
    expect((await stat(to)).size).toBe(256 * 1024)
  })

  test('that grows meanwhile counts with what was copied', async () => {
    await writeFile(from, 'a')
    const counts: number[] = []
    const onBytes = (more: number): void => {
      counts.push(more)
      if (counts.length === 1) appendFileSync(from, 'bc')
      if (counts.length === 2) throw new Error('too much')
    }
    await expect(copyRegularFile(from, to, { signal, onBytes })).rejects.toThrow('too much')
    expect(counts).toEqual([1, 2])
  })

  if (process.platform === 'linux')
    test('that holds less than its size says is copied as it is', async () => {
      const shorter = '/sys/kernel/notes'
      const said = '/sys/kernel/mm/transparent_hugepage/enabled'
      for (const file of [shorter, said]) {
        const bytes = await readFile(file).catch(() => undefined)
        if (bytes === undefined) continue
        await copyRegularFile(file, to, { signal })
        expect((await readFile(to)).equals(bytes)).toBe(true)
        await rm(to)
      }
    })
})

test('a file that was replaced meanwhile is neither followed nor waited for', async () => {
  await symlink('/etc/passwd', from)
  await expect(copyRegularFile(from, to, { signal })).rejects.toMatchObject({ code: 'ELOOP' })
  await expect(copyRegularFile(folder, to, { signal })).rejects.toMatchObject({ code: 'ESTALE' })
})

test('a copy never overwrites what is there', async () => {
  await writeFile(from, Buffer.alloc(2 * MIB))
  await writeFile(to, 'mine')
  await expect(copyRegularFile(from, to, { signal })).rejects.toMatchObject({ code: 'EEXIST' })
  expect((await readFile(to)).toString()).toBe('mine')
})

test('a copy stops when its signal aborts', async () => {
  await writeFile(from, Buffer.alloc(4 * MIB))
  const stop = new AbortController()
  const copy = copyRegularFile(from, to, { signal: stop.signal, onBytes: () => stop.abort(new Error('stopped')) })
  await expect(copy).rejects.toThrow('stopped')
  expect((await stat(to)).size).toBeLessThan(MIB)
})
