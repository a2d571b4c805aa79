import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { DEFAULT_SIZE } from '@cliscale/contract'
import { DEFAULT_LIMITS } from '../src/host/terminal/limits.ts'
import { OutputLog } from '../src/host/terminal/output-log.ts'
import { findStart } from '../src/host/terminal/raw-tail.ts'
import { Screen, type ScreenOptions } from '../src/host/terminal/screen.ts'
import { AnswerBudget, ScreenBudget } from '../src/host/terminal/screen-budget.ts'
import type { SessionTerminal } from '../src/host/terminal-types.ts'
import { TestViewer } from './terminal-client.ts'
import { TestEmulator } from './terminal-emulator.ts'
import { eventually, EXIT_OK, openFixture, V1 } from './terminal-fixture.ts'

const KIB = 1024
const NOTE = 'The screen could not be redrawn'

function repeated(text: string, bytes: number): Buffer {
  return Buffer.from(text.repeat(Math.ceil(bytes / text.length)))
}

/** Output that costs or keeps much for each byte. Each ends with a line that a viewer must see. */
const HOSTILE: Readonly<Record<string, Buffer>> = {
  'one huge scroll': Buffer.from('hi \x1b[2147483647S'),
  'inserted lines': repeated('\x1b[H\x1b[999L', 512 * KIB),
  scrolls: repeated('\x1b[40S', 512 * KIB),
  resets: repeated('\x1bc', 512 * KIB),
  'repeated characters': repeated('x\x1b[2147483647b', 512 * KIB),
  'screens of E': repeated('\x1b#8', 512 * KIB),
  'a link for each character': repeated('\x1b]8;;http://example.com/\x1b\\x\x1b]8;;\x1b\\', 5 * 1024 * KIB),
  'an endless title': Buffer.concat([Buffer.from('\x1b]0;'), repeated('t', 6 * 1024 * KIB), Buffer.from('\x07')]),
  'an endless SOS with lines in it': Buffer.concat([
    Buffer.from('\x1bX'),
    repeated('123456\r\n', 6 * 1024 * KIB),
    Buffer.from('\x1b\\'),
  ]),
  'an endless DCS': Buffer.concat([Buffer.from('\x1bPq'), repeated('~', 6 * 1024 * KIB), Buffer.from('\x1b\\')]),
  'an endless CSI': Buffer.concat([Buffer.from('\x1b['), repeated('1;', 6 * 1024 * KIB), Buffer.from('m')]),
  queries: repeated('\x1b[c', 512 * KIB),
}

/** As work's socket does; returns how long it took and the longest time that the event loop was blocked. */
async function append(terminal: SessionTerminal, bytes: Uint8Array): Promise<{ tookMs: number; stoodMs: number }> {
  const start = performance.now()
  let stoodMs = 0
  for (let at = 0; at < bytes.length; at += 64 * KIB) {
    const turn = performance.now()
    terminal.appendWork(terminal.workOffset, bytes.subarray(at, at + 64 * KIB))
    stoodMs = Math.max(stoodMs, performance.now() - turn)
    await terminal.ready()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { tookMs: performance.now() - start, stoodMs }
}

describe('expensive output', () => {
  for (const [name, output] of Object.entries(HOSTILE)) {
    test(`blocks nothing: ${name}`, async () => {
      await using f = await openFixture({ limits: { snapshotMs: 1_000, screenPauseMs: 50 } })
      const { tookMs } = await append(f.terminal, Buffer.concat([output, Buffer.from('\r\nthe last line')]))
      // Plain text of this length takes half as long; a busy machine takes twice as long.
      expect(tookMs).toBeLessThan(1_000 + (output.length / KIB / KIB) * 500)
      await using viewer = await new TestViewer({
        port: f.terminal.port,
        protocols: V1,
        assertion: 'ro-late',
      }).open({})
      await viewer.until(() => viewer.position === f.terminal.head, 'the head', 5_000)
      f.terminal.end(EXIT_OK)
      await viewer.untilClosed(5_000)
      expect(viewer.exit?.exitCode).toBe(0)
      expect(f.typed().length).toBeLessThan(64 * KIB)
    })
  }

  test('of an endless string does not stop viewers from starting, one after another', async () => {
    await using f = await openFixture()
    await append(f.terminal, Buffer.concat([Buffer.from('\x1bX'), repeated('123456\r\n', 5_000 * KIB)]))
    for (const id of ['a', 'b']) {
      await using viewer = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: `ro-${id}` }).open(
        {},
      )
      await viewer.until(() => viewer.position === f.terminal.head, 'the head', 5_000)
      expect(viewer.messages.filter((message) => message.type === 'snapshot')).toHaveLength(1)
    }
  })

  test('inside a string of megabytes does not hide what follows from a viewer who starts there', async () => {
    await using f = await openFixture()
    await append(f.terminal, Buffer.concat([Buffer.from('before\r\n\x1b]0;'), repeated('t', 5_000 * KIB)]))
    using emulator = new TestEmulator(DEFAULT_SIZE)
    await using viewer = await new TestViewer({
      port: f.terminal.port,
      protocols: V1,
      assertion: 'ro-late',
      onMessage: (message) => emulator.take(message),
    }).open({})
    await viewer.until(() => viewer.position === f.terminal.head, 'the head', 5_000)
    await append(f.terminal, Buffer.from('still the title\x07after'))
    await viewer.until(() => viewer.position === f.terminal.head, 'what follows', 5_000)
    await emulator.settled()
    const lines = [0, 1].map((y) => emulator.terminal.buffer.active.getLine(y)?.translateToString(true))
    expect(lines).toEqual(['before', 'after'])
  })

  test('of a colourful log gives a snapshot cut to its limit, newest lines first', async () => {
    await using f = await openFixture({ limits: { snapshotBytes: 200 * KIB, replayBytes: 512 * KIB } })
    let text = ''
    for (let line = 0; line < 600; line++)
      text += `${Array.from({ length: 100 }, (_, i) => `\x1b[38;2;${line % 256};${i};7m#`).join('')} ${line}\r\n`
    await append(f.terminal, Buffer.from(text))
    await using viewer = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'ro-late' }).open({})
    await viewer.until(() => viewer.messages.some((message) => message.type === 'snapshot'), 'a snapshot')
    const snapshot = viewer.messages.find((message) => message.type === 'snapshot')
    expect(snapshot?.bytes.length).toBeGreaterThan(50 * KIB)
    expect(snapshot?.bytes.length).toBeLessThan(220 * KIB)
    await viewer.until(() => viewer.position === f.terminal.head, 'the head')
  })
})

describe('a lost screen', () => {
  const limits = { ...DEFAULT_LIMITS, screenPauseMs: 20, snapshotMs: 10_000, replayBytes: 512 * KIB }

  async function withScreen(
    options: Partial<ScreenOptions>,
    use: (screen: Screen, log: OutputLog, faults: Error[]) => Promise<void>,
  ): Promise<void> {
    const dir = mkdtempSync(path.join(os.tmpdir(), 'cliscale-screen-'))
    const faults: Error[] = []
    const onFault = (error: Error): number => faults.push(error)
    using log = new OutputLog({ dir, maxBytes: 1024 ** 3, onFault, now: Date.now })
    await using screen = new Screen({ log, dir, limits, onAnswer: () => {}, onFault, ...options })
    await use(screen, log, faults)
    rmSync(dir, { recursive: true, force: true })
  }

  for (const [program, why, screenStallMs] of [
    ['hang.mjs', 'it takes too long', 100],
    ['fill.mjs', 'it exceeded its memory limit', 20_000],
  ] as const)
    test(`of ${program} leaves viewers the raw output, after a line that says so`, async () => {
      const file = path.join(import.meta.dirname, 'screen-programs', program)
      await withScreen({ program: file, limits: { ...limits, screenStallMs } }, async (screen, log, faults) => {
        log.appendHost(Buffer.from('the output\r\n'))
        screen.poke()
        await eventually(() => faults.length > 0, 'the end of the screen', 15_000)
        expect(faults[0]?.message).toContain(why)
        const snapshot = await screen.snapshot()
        expect(snapshot.bytes.toString()).toContain(NOTE)
        expect(log.read(snapshot.seq, 100)?.bytes.toString()).toBe('the output\r\n')
        await screen.ready()
      })
    }, 30_000)

  test('starts again at the head, with the modes that were on', async () => {
    await withScreen(
      { limits: { ...limits, screenStallMs: 20_000, screenBudgetMs: 100 } },
      async (screen, log, faults) => {
        log.appendHost(Buffer.from('\x1b[?2004h\x1b[?1049h\x1b[?25l'))
        screen.poke()
        await screen.snapshot()
        // More than the budget, and then as much as the raw output at the end shows.
        for (let i = 0; i < 20 && faults.length === 0; i++) {
          log.appendHost(repeated('\x1b[40S', 32 * KIB))
          screen.poke()
          await new Promise((resolve) => setTimeout(resolve, 100))
        }
        await eventually(() => faults.length > 0, 'the end of the budget', 10_000)
        expect(faults[0]?.message).toContain('takes too long to draw')
        const tail = (await screen.snapshot()).bytes.toString()
        for (const part of [NOTE, '\x1b[?1049h', '\x1b[?2004h', '\x1b[?25l']) expect(tail).toContain(part)
        await eventually(() => {
          log.appendHost(repeated('plain\r\n', 32 * KIB))
          screen.poke()
          return log.head > 2 * 1024 * KIB
        }, 'plain output')
        let text = NOTE
        for (let i = 0; i < 50 && text.includes(NOTE); i++) {
          text = (await screen.snapshot()).bytes.toString()
          await new Promise((resolve) => setTimeout(resolve, 50))
        }
        expect(text).toContain('plain')
        expect(text).toContain('\x1b[?2004h')
      },
    )
  }, 40_000)

  test('is not drawn again by the next host when the previous one died drawing it', async () => {
    const dir = mkdtempSync(path.join(os.tmpdir(), 'cliscale-screen-'))
    const onFault = (): void => {}
    using log = new OutputLog({ dir, maxBytes: 1024 ** 2, onFault, now: Date.now })
    log.appendHost(Buffer.from('old\r\n'))
    const mark = path.join(dir, 'screen.catch-up')
    {
      await using screen = new Screen({ log, dir, limits, onAnswer: () => {}, onFault })
      expect(existsSync(mark)).toBe(true)
      await eventually(() => !existsSync(mark), 'the end of the catching up', 15_000)
      expect((await screen.snapshot()).bytes.toString()).toContain('old')
    }
    writeFileSync(mark, '')
    await using next = new Screen({ log, dir, limits, onAnswer: () => {}, onFault })
    expect((await next.snapshot()).bytes.toString()).toContain(NOTE)
    expect(existsSync(mark)).toBe(false)
    rmSync(dir, { recursive: true, force: true })
  })
})

test('is replaced by raw output from a line break outside of any string, or from a whole character', () => {
  const start = (text: string): string => {
    const bytes = Buffer.from(text, 'latin1')
    return bytes.subarray(findStart(bytes)).toString('latin1')
  }
  expect(start('cut\nline')).toBe('line')
  expect(start('cut\x1b]0;a\nb\x07c\nline')).toBe('line')
  expect(start('cut\x1bPq\n\x1b\\\nline')).toBe('line')
  expect(start('\x80\x80no line')).toBe('no line')
  expect(start('\x80\x80')).toBe('\x80\x80')
})

test('has budgets that grow with time and output, and are finite', () => {
  let now = 0
  const budget = new ScreenBudget(2_000, () => now)
  expect(budget.spend(0, 1_999)).toBe(true)
  expect(budget.spend(0, 2)).toBe(false)
  now += 10_000
  expect(budget.spend(0, 1_900)).toBe(true)
  expect(budget.spend(1024 * KIB, 400)).toBe(true)
  expect(budget.spend(0, 200)).toBe(false)
  const answers = new AnswerBudget(() => now)
  expect(answers.take(16 * KIB)).toBe(true)
  expect(answers.take(1)).toBe(false)
  now += 500
  expect(answers.take(8 * KIB)).toBe(true)
})
