import { beforeEach, describe, expect, test } from '@jest/globals'
import type { TerminalSize } from '@cliscale/contract/terminal'
import { ScreenQueue } from './screen-queue.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const nothing = (): void => {}

describe('ScreenQueue', () => {
  let log: string[]
  let unparsed: (() => void)[]
  let deferred: (() => void)[]
  let size: TerminalSize
  let queue: ScreenQueue

  beforeEach(() => {
    log = []
    unparsed = []
    deferred = []
    size = { columns: 80, rows: 24 }
    const port = {
      get size() {
        return size
      },
      write: (data: Uint8Array, parsed: () => void) => {
        log.push(`write ${new TextDecoder().decode(data)}`)
        unparsed.push(parsed)
      },
      resize: (next: TerminalSize) => {
        size = next
        log.push(`resize ${next.columns}x${next.rows}`)
      },
    }
    queue = new ScreenQueue(port, (callback) => deferred.push(callback))
  })

  test('a size waits until the bytes before it are parsed, and the bytes after it wait for that size', () => {
    queue.write(bytes('a'), nothing)
    queue.resize({ columns: 40, rows: 10 })
    queue.write(bytes('b'), nothing)
    queue.write(bytes('c'), nothing)
    expect(log).toEqual(['write a'])
    unparsed.shift()?.()
    expect(log).toEqual(['write a', 'resize 40x10', 'write b', 'write c'])
  })

  test('a size that the terminal already has holds nothing up', () => {
    queue.write(bytes('a'), nothing)
    queue.resize({ columns: 80, rows: 24 })
    queue.write(bytes('b'), nothing)
    expect(log).toEqual(['write a', 'write b'])
  })

  test('of two sizes without output between them, only the last counts', () => {
    queue.resize({ columns: 1, rows: 1 })
    queue.resize({ columns: 50, rows: 20 })
    queue.write(bytes('x'), nothing)
    expect(log).toEqual(['resize 50x20', 'write x'])
  })

  test('a reset travels with the bytes that replace the screen', () => {
    queue.write(bytes('old'), nothing)
    queue.reset()
    expect(log).toEqual(['write old'])
    queue.write(bytes('new'), nothing)
    queue.write(bytes('er'), nothing)
    expect(log).toEqual(['write old', 'write \x1bcnew', 'write er'])
  })

  test('a snapshot replaces the screen at once', () => {
    queue.reset()
    queue.snapshot(bytes('S'), nothing)
    expect(log).toEqual(['write \x1bc\x1b[?2026hS\x1b[?2026l'])
  })

  test('a reset and a size without output after them take effect soon', () => {
    queue.reset()
    queue.resize({ columns: 10, rows: 5 })
    expect(deferred).toHaveLength(1)
    deferred[0]?.()
    expect(log).toEqual(['resize 10x5', 'write \x1bc'])
  })

  test('reports each piece once it is parsed', () => {
    const done: string[] = []
    queue.write(bytes('a'), () => done.push('a'))
    queue.write(bytes('b'), () => done.push('b'))
    expect(queue.idle).toBe(false)
    unparsed.shift()?.()
    unparsed.shift()?.()
    expect(done).toEqual(['a', 'b'])
    expect(queue.idle).toBe(true)
  })
})
