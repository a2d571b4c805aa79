import { createHash, randomBytes } from 'node:crypto'
import { appendFileSync, copyFileSync, mkdirSync, readFileSync, statSync, truncateSync, writevSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { Journal, type JournalOptions } from '../src/host/terminal/journal.ts'
import { crc32 } from 'node:zlib'
import { MAX_OUTPUT_TIMES } from '@cliscale/contract'
import { encodeHeader, PREAMBLE_BYTES, RecordType } from '../src/host/terminal/journal-format.ts'
import { OutputLog } from '../src/host/terminal/output-log.ts'
import { EXIT_OK } from './terminal-fixture.ts'

let dir = ''
const faults: Error[] = []
beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'cliscale-journal-'))
  faults.length = 0
})
afterEach(() => rm(dir, { recursive: true, force: true }))

function options(more: Partial<JournalOptions> = {}): JournalOptions {
  return { dir, maxBytes: 1024 ** 3, now: () => 1_700_000_000_000, onFault: (error) => faults.push(error), ...more }
}

function readAll(journal: Pick<Journal, 'read'>, step = 1000): Buffer {
  const parts: Buffer[] = []
  let at = 0
  for (;;) {
    const chunk = journal.read(at, step)
    if (!chunk) return Buffer.concat(parts)
    parts.push(Buffer.from(chunk.bytes))
    at += chunk.bytes.length
  }
}

describe('the journal', () => {
  test('returns after a restart what was appended, with sizes in order, epoch, work offset and exit', () => {
    {
      using j = new Journal(options())
      j.setEpoch('e')
      j.append(Buffer.from('host '), undefined)
      j.append(Buffer.from('work'), 0)
      j.setSize({ columns: 80, rows: 24 })
      j.append(Buffer.from('wide'), 4)
      j.setSize({ columns: 100, rows: 30 })
      j.setExit(EXIT_OK)
    }
    using j = new Journal(options())
    expect([j.head, j.workOffset, j.epoch, j.exit, j.size]).toEqual([13, 8, 'e', EXIT_OK, { columns: 100, rows: 30 }])
    expect(j.read(0, 100)).toEqual({ offset: 0, bytes: Buffer.from('host work'), size: { columns: 120, rows: 40 } })
    expect(j.read(9, 100)).toEqual({ offset: 9, bytes: Buffer.from('wide'), size: { columns: 80, rows: 24 } })
    expect(j.read(7, 1)?.bytes.toString()).toBe('r')
    expect([j.read(13, 100), j.read(-1, 5), j.read(0, 0)]).toEqual([undefined, undefined, undefined])
  })

  test('drops a record that a kill cut off at any byte, and continues', () => {
    {
      using j = new Journal(options())
      j.append(Buffer.from('kept'), 0)
    }
    const before = statSync(path.join(dir, 'journal')).size
    {
      using j = new Journal(options())
      j.append(Buffer.from('torn record'), 4)
    }
    const whole = path.join(dir, 'journal')
    const after = statSync(whole).size
    for (let length = before; length <= after; length++) {
      const copy = path.join(dir, `at-${length}`)
      mkdirSync(copy)
      copyFileSync(whole, path.join(copy, 'journal'))
      truncateSync(path.join(copy, 'journal'), length)
      using j = new Journal(options({ dir: copy }))
      const rest = length === after ? 'torn record' : ''
      expect([readAll(j).toString(), j.workOffset]).toEqual([`kept${rest}`, 4 + rest.length])
      j.append(Buffer.from('+more'), j.workOffset)
      expect(readAll(j).toString()).toBe(`kept${rest}+more`)
    }
  })

  test('opens empty after a kill while its file was made', () => {
    for (const length of [0, 1, 7, 300, PREAMBLE_BYTES - 1]) {
      const part = path.join(dir, `${length}`)
      mkdirSync(part)
      appendFileSync(path.join(part, 'journal'), Buffer.alloc(length))
      using j = new Journal(options({ dir: part }))
      j.append(Buffer.from('x'), 0)
      expect([j.head, readAll(j).toString()]).toEqual([1, 'x'])
    }
  })

  test('drops a last record with a wrong body, or junk after it', () => {
    {
      using j = new Journal(options())
      j.append(Buffer.from('good'), 0)
      j.append(Buffer.from('bad!'), 4)
    }
    const file = path.join(dir, 'journal')
    truncateSync(file, statSync(file).size - 4)
    appendFileSync(file, Buffer.alloc(4))
    {
      using j = new Journal(options())
      expect([j.head, j.workOffset]).toEqual([4, 4])
    }
    appendFileSync(file, randomBytes(500))
    using j = new Journal(options())
    expect(readAll(j).toString()).toBe('good')
  })

  test('reads any range of many records of many lengths as the bytes that were appended', () => {
    const parts = Array.from({ length: 3000 }, (_, i) =>
      randomBytes(1 + ((i * 7919) % (i % 100 === 0 ? 300_000 : 400))),
    )
    const all = Buffer.concat(parts)
    {
      using j = new Journal(options())
      let at = 0
      for (const part of parts) {
        j.append(part, at)
        at += part.length
      }
    }
    using j = new Journal(options())
    expect(j.head).toBe(all.length)
    for (let i = 0; i < 200; i++) {
      const from = (i * 104_729) % all.length
      const length = 1 + ((i * 7_927) % 200_000)
      const chunk = j.read(from, length)
      expect(chunk && Buffer.compare(chunk.bytes, all.subarray(from, from + chunk.bytes.length))).toBe(0)
      expect(chunk?.bytes.length).toBe(Math.min(length, all.length - from))
    }
    expect(createHash('sha256').update(readAll(j, 65_536)).digest('hex')).toBe(
      createHash('sha256').update(all).digest('hex'),
    )
  })

  test('ends with a marker at its limit, only counts later output, and knows both after a restart', () => {
    {
      using j = new Journal(options({ maxBytes: 100 }))
      j.append(Buffer.alloc(150, 'a'), 0)
      j.append(Buffer.from('more'), 150)
      j.setSize({ columns: 90, rows: 20 })
      j.append(Buffer.from('host'), undefined)
      j.setExit(EXIT_OK)
    }
    expect(statSync(path.join(dir, 'journal')).size).toBe(PREAMBLE_BYTES + 100)
    using j = new Journal(options({ maxBytes: 100 }))
    const text = readAll(j).toString()
    expect(text).toMatch(/^a{68}\r\n.*\[cliscale\] Output from here on is not kept: .* It is still shown live.\r\n$/)
    const marker = text.length - 68
    expect([j.workOffset, j.head, j.exit]).toEqual([154, 154 + 4 + marker, EXIT_OK])
    expect(j.size).toEqual({ columns: 90, rows: 20 })
    j.append(Buffer.from('!'), 154)
    expect([j.workOffset, j.head]).toEqual([155, 159 + marker])
  })

  test('treats a full disk as its limit, also in the middle of a record', () => {
    let room = 50
    const writev: typeof writevSync = (fd, parts, position) => {
      const all = Buffer.concat(parts as Buffer[])
      if (room === 0) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
      const part = all.subarray(0, room)
      room -= part.length
      return writevSync(fd, [part], position as number)
    }
    {
      using j = new Journal(options({ writev }))
      j.append(Buffer.from('12345678'), 0)
      j.append(Buffer.from('does not fit'), 8)
      j.setEpoch('late')
      j.setExit(EXIT_OK)
      expect(faults.map((e) => (e as NodeJS.ErrnoException).code)).toEqual(['ENOSPC'])
    }
    using j = new Journal(options())
    expect(readAll(j).toString()).toMatch(/^12345678\r\n.*the disk is full/)
    expect([j.workOffset, j.epoch, j.exit]).toEqual([20, 'late', EXIT_OK])
  })

  test('keeps a size that the disk refuses', () => {
    const writev = (): never => {
      throw Object.assign(new Error('quota'), { code: 'EDQUOT' })
    }
    {
      using log = new OutputLog(options({ writev }))
      log.setSize({ columns: 70, rows: 20 })
      expect(log.read(0, 1000)?.bytes.toString()).toContain('the disk is full')
      log.appendWork(0, Buffer.from('live'))
      expect(log.read(log.head - 4, 4)?.bytes.toString()).toBe('live')
    }
    using j = new Journal(options())
    expect(j.size).toEqual({ columns: 70, rows: 20 })
  })

  test('keeps an exit without its detail when the detail is larger than the preamble', () => {
    {
      using j = new Journal(options())
      j.setExit({ ...EXIT_OK, detail: '\u0001'.repeat(10_000) })
    }
    using j = new Journal(options())
    expect(j.exit).toEqual(EXIT_OK)
  })

  test('accepts nothing and returns nothing once it is closed', () => {
    const j = new Journal(options())
    j.append(Buffer.from('kept'), 0)
    j[Symbol.dispose]()
    j[Symbol.dispose]()
    j.append(Buffer.from('late'), 4)
    j.setSize({ columns: 1, rows: 1 })
    j.setExit(EXIT_OK)
    expect([j.head, j.workOffset, j.exit, j.read(0, 10), faults]).toEqual([4, 4, undefined, undefined, []])
  })

  test('fails to open in a folder that cannot be written', () => {
    appendFileSync(path.join(dir, 'file'), '')
    expect(() => new Journal(options({ dir: path.join(dir, 'file', 'sub') }))).toThrow(/ENOTDIR/)
    expect(readFileSync(path.join(dir, 'file')).length).toBe(0)
  })
})

describe('the times of output', () => {
  const START = 1_700_000_000_000
  /** Appends one byte at each of these times, counted from START. */
  function journalOf(times: readonly number[], more: Partial<JournalOptions> = {}): Journal {
    let ms = 0
    const journal = new Journal(options({ now: () => START + ms, ...more }))
    for (const time of times) {
      ms = time
      journal.append(Buffer.from('x'), journal.workOffset)
    }
    return journal
  }
  const timesAt = (journal: Journal, from: number, max = 1000) =>
    journal.readTimed(from, max)?.times.map(([byte, ms]) => [byte, ms - START])

  test('are those at which it was appended, to 10 ms, wherever the reading begins', () => {
    using j = journalOf([0, 4, 9, 10, 15, 2000])
    expect(timesAt(j, 0)).toEqual([
      [0, 0],
      [3, 10],
      [5, 2000],
    ])
    expect(timesAt(j, 4)).toEqual([
      [0, 15],
      [1, 2000],
    ])
    expect([timesAt(j, 4, 1), timesAt(j, 6)]).toEqual([[[0, 15]], undefined])
  })

  test('never fall when the clock is set back, also over a restart', () => {
    {
      using j = journalOf([5000, 1000])
      expect(timesAt(j, 0)).toEqual([[0, 5000]])
    }
    using j = journalOf([2000, 6000])
    expect(timesAt(j, 0)).toEqual([
      [0, 5000],
      [3, 6000],
    ])
    expect(timesAt(j, 1)![0]).toEqual([0, 5000])
  })

  test('do not fall in the journal of an earlier version either, and its torn last record counts for nothing', () => {
    journalOf([])[Symbol.dispose]()
    const body = Buffer.from('x')
    const record = (head: number, timeMs: number, checksum: number): Buffer =>
      Buffer.concat([
        encodeHeader({ type: RecordType.output, detail: head, timeMs: START + timeMs, length: 1, checksum, head }),
        body,
      ])
    const records = [record(0, 900, crc32(body)), record(1, 100, crc32(body)), record(2, 10 ** 9, 0)]
    appendFileSync(path.join(dir, 'journal'), Buffer.concat(records))
    using j = journalOf([950])
    expect([j.head, timesAt(j, 0)]).toEqual([
      3,
      [
        [0, 900],
        [2, 950],
      ],
    ])
  })

  test('end a reading early when there are more than a report takes, and the next goes on', () => {
    using j = journalOf(Array.from({ length: MAX_OUTPUT_TIMES + 50 }, (_, i) => i * 10))
    expect(j.readTimed(0, 1000)?.bytes.length).toBe(MAX_OUTPUT_TIMES)
    expect(timesAt(j, MAX_OUTPUT_TIMES)).toEqual(Array.from({ length: 50 }, (_, i) => [i, (MAX_OUTPUT_TIMES + i) * 10]))
    expect(j.read(0, 1000)?.bytes.length).toBe(MAX_OUTPUT_TIMES + 50)
  })

  test('of a full journal end with those of its last record', () => {
    using j = journalOf([0, 700, 900], { maxBytes: 66 })
    const marker = j.readTimed(2, 1000)
    expect([marker?.bytes.toString().includes('not kept'), timesAt(j, 2)]).toEqual([true, [[0, 700]]])
  })
})

describe('the log', () => {
  test('drops what work sends twice, and refuses a gap', () => {
    using log = new OutputLog(options())
    log.appendWork(0, Buffer.from('abc'))
    log.appendHost(Buffer.from('-'))
    log.appendWork(1, Buffer.from('bcde'))
    log.appendWork(0, Buffer.from('abcde'))
    expect(log.read(0, 100)?.bytes.toString()).toBe('abc-de')
    expect(log.workOffset).toBe(5)
    expect(() => log.appendWork(6, Buffer.from('x'))).toThrow(TypeError)
    expect(log.head).toBe(6)
  })

  test('reads the newest bytes beyond its limit from memory, and has lost what lies between', () => {
    using log = new OutputLog(options({ maxBytes: 1032 }))
    log.appendWork(0, Buffer.alloc(1500, 'k'))
    expect(log.readKept(999, 10)?.bytes.toString()).toBe('k')
    expect(log.readKept(1000, 10)?.bytes.toString()).toMatch(/^\r\n/)
    expect(log.read(log.head - 500, 500)?.bytes.toString()).toBe('k'.repeat(500))
    log.appendWork(1500, Buffer.alloc(3 * 1024 * 1024, 'x'))
    expect(log.read(5_000, 10)).toBeUndefined()
    expect(log.nextReadable(5_000)).toBe(log.head - 2 * 1024 * 1024)
    expect(log.readKept(log.head - 5, 5)).toBeUndefined()
    expect(log.readKept(1000, 1000)?.bytes.toString()).toContain('is not kept')
  })
})
