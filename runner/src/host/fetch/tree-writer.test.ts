import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { createTreeWriter, finishTree } from './tree-writer.ts'

describe('the links of an archive', () => {
  const names = Array.from({ length: 2000 }, (_, i) => `link-${i}`)
  const links = names.map((name) => ({ kind: 'symlink', path: name, target: 'file' }))
  let root: string

  beforeEach(() => {
    root = fs.mkdtempSync(path.join(os.tmpdir(), 'cs-tree-'))
  })
  afterEach(() => fs.rmSync(root, { recursive: true }))

  test('do not hold up the event loop, however many they are', async () => {
    using writer = createTreeWriter(root)
    let seen = 0
    const look = setInterval(() => (seen = Math.max(seen, fs.readdirSync(root).length % names.length)), 0)
    await finishTree(writer, links, new AbortController().signal)
    clearInterval(look)
    expect(seen).toBeGreaterThan(0)
    expect(fs.readdirSync(root)).toHaveLength(names.length)
  })

  test('are no longer written once the session stops', async () => {
    using writer = createTreeWriter(root)
    const stop = new AbortController()
    const done = finishTree(writer, links, stop.signal)
    setImmediate(() => stop.abort(new Error('stopped')))
    await expect(done).rejects.toThrow('stopped')
    expect(fs.readdirSync(root).length).toBeLessThan(names.length)
  })
})
