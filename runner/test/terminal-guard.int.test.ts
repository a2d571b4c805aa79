import { describe, expect, test } from '@jest/globals'
import headless from '@xterm/headless'
import { guardTerminal } from '@cliscale/contract/terminal-guard'
import { TestEmulator } from './terminal-emulator.ts'
import { Grammar } from './terminal-grammar.ts'

const SIZE = { columns: 80, rows: 24 }
/** `CLISCALE_FUZZ_SECONDS=600` runs the fuzz for ten minutes. */
const FUZZ_MS = Number(process.env['CLISCALE_FUZZ_SECONDS'] ?? 1.5) * 1000

interface Core {
  writeSync(data: Uint8Array | string): void
  _inputHandler: { _windowTitle: string }
  _oscLinkService: { getLinkData(id: number): { uri: string } | undefined }
}
const coreOf = (emulator: TestEmulator): Core => (emulator.terminal as unknown as { _core: Core })._core

function guarded(options?: Parameters<typeof guardTerminal>[1]): TestEmulator {
  const emulator = new TestEmulator(SIZE)
  guardTerminal(emulator.terminal, options)
  return emulator
}

/** What a terminal without a guard shows, or undefined where it throws. */
function plainPicture(...output: readonly (Uint8Array | string)[]): unknown {
  using emulator = new TestEmulator(SIZE)
  try {
    for (const piece of output) coreOf(emulator).writeSync(piece)
    return emulator.picture(false)
  } catch {
    return undefined
  }
}

describe('one sequence', () => {
  const LINES = Array.from({ length: 30 }, (_, i) => `line ${i}`).join('\r\n')
  // In a plain terminal, the count in the second column gives what the huge one in the first would.
  const HUGE: readonly (readonly [string, string])[] = [
    ['\x1b[2147483647S', '\x1b[24S'],
    ['\x1b[20000000S', '\x1b[24S'],
    ['\x1b[2147483647T', '\x1b[24T'],
    ['\x1b[H\x1b[2147483647L', '\x1b[H\x1b[24L'],
    ['\x1b[5;10H\x1b[2147483647M', '\x1b[5;10H\x1b[24M'],
    ['\x1b[3;7r\x1b[4H\x1b[2147483647L', '\x1b[3;7r\x1b[4H\x1b[24L'],
    ['\x1b[2147483647I*', '\x1b[80I*'],
    ['\x1b[2147483647Z*', '\x1b[80Z*'],
    ['\x1b[3g\x1b[H\x1b[2147483647I*\x1b[2147483647Z*', '\x1b[3g\x1b[H\x1b[80I*\x1b[80Z*'],
    ['\x1b[5H\x1b[2147483647@', '\x1b[5H\x1b[80@'],
    ['\x1b[5H\x1b[2147483647P', '\x1b[5H\x1b[80P'],
    ['\x1b[5H\x1b[2147483647X', '\x1b[5H\x1b[80X'],
    ['\x1b[2147483647 @', '\x1b[80 @'],
    ['\x1b[2147483647 A', '\x1b[80 A'],
    ["\x1b[2147483647'}", "\x1b[80'}"],
    ["\x1b[2147483647'~", "\x1b[80'~"],
    ['\x1b[9999A\x1b[2147483647B\x1b[2147483647C\x1b[2147483647D*', '\x1b[99A\x1b[99B\x1b[99C\x1b[99D*'],
    ['\x1b[2147483647;2147483647H*', '\x1b[999;999H*'],
  ]
  for (const [huge, same] of HUGE) {
    test(`${JSON.stringify(huge)} is carried out only as far as the screen reaches`, () => {
      using emulator = guarded()
      const start = performance.now()
      coreOf(emulator).writeSync(LINES + huge)
      expect(performance.now() - start).toBeLessThan(1_000)
      expect(emulator.picture(false)).toEqual(plainPicture(LINES + same))
    })
  }

  test('repeats a character over a few screens at most, and leaves the cursor in the right column', () => {
    using emulator = guarded()
    coreOf(emulator).writeSync(`x\x1b[2147483647b\r\n漢\x1b[2147483647b`)
    // 2147483648 wide characters, 40 in a line.
    expect(emulator.terminal.buffer.active.cursorX).toBe(2 * (2_147_483_648 % 40))
    using exact = guarded()
    coreOf(exact).writeSync('x\x1b[20000b')
    expect(exact.picture(false)).toEqual(plainPicture('x\x1b[20000b'))
  })

  test('erases up to the last cell of a fresh screen without throwing', () => {
    const faults: unknown[] = []
    using emulator = guarded({ onFault: (error) => faults.push(error) })
    expect(plainPicture(`top${'\r\n'.repeat(23)}${'x'.repeat(80)}\x1b[1J`)).toBeUndefined()
    coreOf(emulator).writeSync(`top${'\r\n'.repeat(23)}${'x'.repeat(80)}\x1b[1J\x1b[Hafter`)
    expect(emulator.terminal.buffer.active.getLine(0)?.translateToString(true)).toBe('after')
    expect(emulator.terminal.buffer.active.getLine(23)?.translateToString(true)).toBe('')
    expect(faults).toEqual([])
  })
})

describe('what is kept', () => {
  test('of a title is its beginning, and of other strings nothing when they are too long', () => {
    using emulator = guarded()
    const core = coreOf(emulator)
    core.writeSync(`\x1b]0;${'t'.repeat(9_900_000)}\x07`)
    expect(core._inputHandler._windowTitle).toMatch(/^t{4000,4096}$/)
    core.writeSync(`\x1b]8;;http://x/${'u'.repeat(100_000)}\x07link\x1b]8;;\x07\r\n`)
    expect(core._oscLinkService.getLinkData(1)).toBeUndefined()
    core.writeSync('\x1b]2;short\x07')
    expect(core._inputHandler._windowTitle).toBe('short')
  })

  test('of the clipboard is all that a page may take, however it is split', () => {
    using emulator = guarded()
    const copied: string[] = []
    emulator.terminal.parser.registerOscHandler(52, (body) => copied.push(body) > 0)
    const body = `c;${'A'.repeat(100_000)}`
    coreOf(emulator).writeSync('\x1b]5')
    for (const part of ['2', ';', body.slice(0, 20), body.slice(20), '\x07']) coreOf(emulator).writeSync(part)
    coreOf(emulator).writeSync(`\x1b]52;c;${'A'.repeat(500_000)}\x07`)
    // The second is cut at where a page, which is to tell of it, takes it for too large.
    expect(copied.map((part) => part.length)).toEqual([body.length, 128 * 1024 - '52;'.length])
    expect(copied[0]).toBe(body)
  })

  test('of characters that join one cell is limited', () => {
    using emulator = guarded()
    for (let i = 0; i < 100; i++) coreOf(emulator).writeSync(i === 0 ? 'e\u0301' : '\u0301'.repeat(1_000))
    coreOf(emulator).writeSync('f\u0301')
    const line = emulator.terminal.buffer.active.getLine(0)
    expect(line?.getCell(0)?.getChars()).toBe(`e${'\u0301'.repeat(32)}`)
    expect(line?.getCell(1)?.getChars()).toBe('f\u0301')
  })

  test('of links are those that cells on the screen use', () => {
    using emulator = guarded()
    const core = coreOf(emulator)
    const start = performance.now()
    for (let i = 0; i < 30_000; i++)
      core.writeSync(`\x1b]8;;http://x/${i}\x1b\\l\x1b]8;;\x1b\\${i % 5 === 0 ? '\r\n' : ''}`)
    expect(performance.now() - start).toBeLessThan(5_000)
    const known = Array.from({ length: 30_001 }, (_, i) => i).filter((id) => core._oscLinkService.getLinkData(id))
    expect(known.length).toBeLessThanOrEqual(16_384)
    expect(core._oscLinkService.getLinkData(30_000)?.uri).toBe('http://x/29999')
    core.writeSync('\x1b]8;id=a;http://y/\x1b\\1\x1b]8;;\x1b\\ \x1b]8;id=a;http://y/\x1b\\2\x1b]8;;\x1b\\')
    expect(core._oscLinkService.getLinkData(30_001)?.uri).toBe('http://y/')
    expect(core._oscLinkService.getLinkData(30_002)).toBeUndefined()
  })
})

test.each([
  ['before the first one', ''],
  ['after an earlier one', '\x1b[?1049h\x1b[?1049l'],
])('a full-screen program has no scrollback in a terminal that got lower %s', async (_when, before) => {
  const shownIn = async (higher: number): Promise<unknown> => {
    using emulator = new TestEmulator({ ...SIZE, rows: SIZE.rows + higher })
    guardTerminal(emulator.terminal)
    emulator.write(before)
    await emulator.settled()
    emulator.terminal.resize(SIZE.columns, SIZE.rows)
    emulator.write(`\x1b[?1049h${Array.from({ length: 30 }, (_, i) => `line ${i}`).join('\r\n')}`)
    await emulator.settled()
    expect(emulator.terminal.buffer.active.length).toBe(SIZE.rows)
    return emulator.picture()
  }
  expect(await shownIn(16)).toEqual(await shownIn(0))
})

test('a character that arrives in pieces looks as if it arrived whole', () => {
  const text = 'a\u2014b\u201cc\u200d\u0301d漢🥲é'
  const bytes = Buffer.concat([Buffer.from(text), Buffer.from([0xe2, 0x80, 0x41, 0xf0, 0x9f, 0x42, 0xc3, 0xff, 0x43])])
  for (let step = 1; step < 5; step++) {
    using emulator = guarded()
    for (let at = 0; at < bytes.length; at += step) coreOf(emulator).writeSync(bytes.subarray(at, at + step))
    expect(emulator.picture(false)).toEqual(plainPicture(bytes))
  }
})

test('a terminal that throws continues with the next piece', async () => {
  const faults: unknown[] = []
  using emulator = guarded({ onFault: (error) => faults.push(error) })
  emulator.terminal.parser.registerCsiHandler({ final: 'y' }, () => {
    throw new Error('a fault')
  })
  emulator.write('\x1b[y lost')
  emulator.write('after')
  await emulator.settled()
  expect(emulator.terminal.buffer.active.getLine(0)?.translateToString(true)).toBe('after')
  expect(faults).toEqual([new Error('a fault')])
})

test('a page parses in slices, and lets other work run between them', async () => {
  using emulator = guarded({ yieldMs: 5 })
  let longestMs = 0
  let last = performance.now()
  const timer = setInterval(() => {
    longestMs = Math.max(longestMs, performance.now() - last)
    last = performance.now()
  }, 1)
  emulator.write(`${'\x1b[24S'.repeat(10_000)}\x1b[Hafter 漢`)
  emulator.write('字')
  await emulator.settled()
  clearInterval(timer)
  expect(longestMs).toBeLessThan(500)
  expect(emulator.terminal.buffer.active.getLine(0)?.translateToString(true)).toBe('after 漢字')
})

test('any other terminal is refused', () => {
  expect(() => guardTerminal({})).toThrow(TypeError)
  expect(() => guardTerminal(new headless.Terminal())).not.toThrow()
})

function pieces(output: Uint8Array, size: number, move = (_output: Uint8Array, at: number) => at): Uint8Array[] {
  const cuts = Array.from({ length: Math.ceil(output.length / size) }, (_, i) => move(output, i * size))
  return cuts.map((cut, i) => output.subarray(cut, cuts[i + 1] ?? output.length))
}

/** Where the character begins that has a byte at `at`. */
function characterStart(output: Uint8Array, at: number): number {
  while (at > 0 && ((output[at] ?? 0) & 0xc0) === 0x80) at--
  return at
}

describe('random output', () => {
  test(
    'looks as in a terminal without a guard',
    () => {
      const end = performance.now() + FUZZ_MS
      let compared = 0
      for (let seed = 1; performance.now() < end || compared < 20; seed++) {
        const output = new Grammar(seed, false).output(4_000)
        // Where a line does not wrap, xterm.js joins a character to the last column or not, as its pieces are cut; and it
        // loses characters that are cut themselves.
        const plain = plainPicture(...pieces(output, 333, characterStart))
        if (plain === undefined) continue
        using emulator = guarded()
        for (const piece of pieces(output, 333)) coreOf(emulator).writeSync(piece)
        expect({ seed, picture: emulator.picture(false) }).toEqual({ seed, picture: plain })
        compared++
      }
    },
    FUZZ_MS + 60_000,
  )

  test(
    'of any kind blocks nothing for a second',
    async () => {
      const end = performance.now() + FUZZ_MS
      for (let seed = 1; performance.now() < end || seed < 5; seed++) {
        const output = new Grammar(seed, true).output(64_000)
        const faults: unknown[] = []
        using emulator = guarded({ yieldMs: 12, onFault: (error) => faults.push(error) })
        let last = performance.now()
        let longestMs = 0
        const timer = setInterval(() => {
          longestMs = Math.max(longestMs, performance.now() - last)
          last = performance.now()
        }, 1)
        emulator.write(output)
        await emulator.settled()
        clearInterval(timer)
        expect({ seed, faults, stalled: longestMs > 1_000 }).toEqual({ seed, faults: [], stalled: false })
      }
    },
    FUZZ_MS * 2 + 60_000,
  )
})
