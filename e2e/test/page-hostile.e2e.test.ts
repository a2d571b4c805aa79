import { expect, test } from '@jest/globals'
import { guardTerminal } from '@cliscale/contract/terminal-guard'
import { TestEmulator } from '../../runner/test/terminal-emulator.ts'
import { Grammar } from '../../runner/test/terminal-grammar.ts'
import { describePage, type PageFixture } from '../src/page-fixture.ts'
import { until } from '../src/system.ts'

/** `CLISCALE_FUZZ_SECONDS=600` runs the fuzz for ten minutes. */
const FUZZ_MS = Number(process.env['CLISCALE_FUZZ_SECONDS'] ?? 4) * 1000

describePage('a page whose program prints anything', (t) => {
  test(
    'shows what a terminal of the same size shows',
    async () => {
      await t.withoutWebgl()
      const end = performance.now() + FUZZ_MS
      for (let seed = 1; performance.now() < end || seed < 4; seed++) {
        const output = new Grammar(seed, false).output(4_000)
        await openAnew(t)
        const expected = await visibleText(output, t)
        // What the program holds back from being drawn (mode 2026) is drawn at its end.
        t.session.print(Buffer.concat([output, Buffer.from('\x18\x1b[?2026l')]))
        await shown(t)
        await until(`the screen of seed ${seed}`, async () => (await drawnText(t)) === expected).catch(async () =>
          expect({ seed, text: await drawnText(t) }).toEqual({ seed, text: expected }),
        )
      }
      expect(t.faults).toEqual([])
    },
    FUZZ_MS + 120_000,
  )

  test(
    'is never held up for a second',
    async () => {
      const end = performance.now() + FUZZ_MS
      let longestMs = 0
      for (let seed = 1; performance.now() < end || seed < 4; seed++) {
        await openAnew(t)
        await t.page.evaluate(() => {
          const watched = window as unknown as { longestMs: number }
          watched.longestMs = 0
          let last = performance.now()
          setInterval(() => {
            watched.longestMs = Math.max(watched.longestMs, performance.now() - last)
            last = performance.now()
          }, 5)
        })
        t.session.print(Buffer.from(new Grammar(seed, true).output(128_000)))
        await shown(t)
        const blockedMs = await t.page.evaluate(() => (window as unknown as { longestMs: number }).longestMs)
        longestMs = Math.max(longestMs, blockedMs)
        expect({ seed, isHeldUp: blockedMs > 1_000, blockedMs }).toMatchObject({ seed, isHeldUp: false })
      }
      if (FUZZ_MS > 10_000) process.stderr.write(`The page was held up for at most ${Math.round(longestMs)} ms.\n`)
      expect(t.faults).toEqual([])
    },
    FUZZ_MS * 2 + 120_000,
  )
})

/** A session of its own for each output, in the same tab. */
async function openAnew(t: PageFixture): Promise<void> {
  t.session = t.server.createSession()
  t.session.setStatus({ status: 'running', stage: 'running' })
  await t.openLive()
}

/** Waits until the page has acknowledged, and so parsed, all output. */
async function shown(t: PageFixture): Promise<void> {
  await until('all is parsed', () => t.session.acks.at(-1) === t.session.output.length, 60_000)
}

/** Row by row: the text of all together leaves out rows without any. */
async function drawnText(t: PageFixture): Promise<string> {
  const rows = await t.page.locator('.xterm-rows > div').allTextContents()
  return normalised(rows.join('\n'))
}

async function visibleText(output: Uint8Array, t: PageFixture): Promise<string> {
  using emulator = new TestEmulator(t.session.size)
  guardTerminal(emulator.terminal)
  emulator.write(output)
  await emulator.settled()
  const buffer = emulator.terminal.buffer.active
  const { columns, rows } = t.session.size
  const cellAt = (y: number, x: number) => buffer.getLine(buffer.baseY + y)?.getCell(x)
  const lines = Array.from({ length: rows }, (_, y) =>
    Array.from({ length: columns }, (_cell, x) => {
      const cell = cellAt(y, x)
      // What stands in the second half of a wide character, or alone in half of one, is not drawn.
      return cell === undefined || cell.getWidth() === 0 ? '' : cell.getChars() || ' '
    }).join(''),
  )
  return normalised(lines.join('\n'))
}

/** Without the spaces at the ends of lines, which a page may draw or not. */
function normalised(text: string): string {
  return text
    .replaceAll('\u00a0', ' ')
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
    .trimEnd()
}
