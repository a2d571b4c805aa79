import { expect, test } from '@jest/globals'
import { DARK_COLOURS, LIGHT_COLOURS, type TerminalColours } from '@cliscale/contract/terminal'
import { describePage } from '../src/page-fixture.ts'
import { until } from '../src/system.ts'

describePage('an attached page', (t) => {
  test('removes the token from the address and the history before it requests anything else', async () => {
    const link = t.session.newLink(t.server.origin)
    await t.page.goto(link)
    await t.state('live')
    expect(t.page.url()).toBe(`${t.server.origin}/ws/${t.session.id}`)
    expect(await t.page.evaluate(() => history.length)).toBeLessThanOrEqual(2)
    const token = link.split('token=')[1] ?? ''
    expect(t.server.requests.filter((request) => request.includes(token))).toHaveLength(1)
  })

  const COLOURS = '\x1b[31mred\x1b[0m \x1b[38;2;1;200;3mtrue colour\x1b[0m \x1b[1;4mbold\x1b[0m 漢字 👩‍👩‍👧\r\n'

  test('draws by WebGL without violating the strict policy', async () => {
    t.session.print(COLOURS)
    await t.openLive()
    await t.drawn('here')
    expect(await t.page.locator('#terminal').getAttribute('data-renderer')).toBe('webgl')
    expect(await t.savedOutput()).toContain('true colour bold 漢字 👩‍👩‍👧')
    expect(t.faults).toEqual([])
  })

  test('draws without WebGL in the right colours without violating the strict policy', async () => {
    await t.withoutWebgl()
    t.session.print(COLOURS)
    await t.openLive()
    await t.drawn('here')
    expect(await t.page.locator('#terminal').getAttribute('data-renderer')).toBe('dom')
    const colourOf = (text: RegExp): Promise<string> =>
      t.page.locator('.xterm-rows span', { hasText: text }).evaluate((element) => getComputedStyle(element).color)
    // The first is a class of a <style> element, the second a style attribute; contrast is lifted on the light ground.
    expect(await colourOf(/^red$/)).toBe('rgb(196, 48, 59)')
    expect(await colourOf(/true colour/)).toMatch(/^rgb\(\d+, 1\d\d, \d+\)$/)
    expect(t.faults).toEqual([])
  })

  test('sends what is typed as UTF-8, in order', async () => {
    await t.openLive()
    await t.page.keyboard.type('échø "漢" ')
    await t.page.keyboard.press('Enter')
    await t.page.keyboard.press('ArrowUp')
    await t.page.keyboard.press('Control+c')
    await until('all of it', () => t.input.endsWith('\x03'))
    expect(t.input).toBe('échø "漢" \r\x1b[A\x03')
  })

  test('sends one RESIZE when its window is dragged', async () => {
    await t.openLive()
    await t.page.waitForTimeout(300)
    expect(t.session.resizes).toEqual([])
    const pauses = await t.page.evaluate(async () => {
      let longPauses = 0
      for (let step = 1; step <= 20; step++) {
        const before = performance.now()
        document.body.style.width = `${900 - step * 10}px`
        await new Promise((resolve) => requestAnimationFrame(resolve))
        if (performance.now() - before > 80) longPauses += 1
      }
      return longPauses
    })
    await until('a RESIZE', () => t.session.resizes.length > 0)
    await t.page.waitForTimeout(700)
    // On a busy machine a frame may take longer than the pause that ends a drag.
    expect(t.session.resizes.length).toBeLessThanOrEqual(1 + pauses)
    expect(t.session.resizes.at(-1)?.columns).toBeLessThan(t.session.hellos[0]?.columns ?? 0)
  })

  test('never answers a program’s questions itself', async () => {
    await t.openLive()
    const questions = [
      'c',
      '>c',
      '=c',
      '5n',
      '6n',
      '?6n',
      '?996n',
      '4$p',
      '?2026$p',
      '>q',
      '>0q',
      '?u',
      '18t',
      '14t',
      '21t',
    ]
    t.session.print(questions.map((question) => `\x1b[${question}`).join(''))
    t.session.print('\x1bP$qm\x1b\\\x1bP+q544e\x1b\\\x1b]4;1;?\x07\x1b]10;?\x07\x1b]11;?\x1b\\\x1b]12;?\x07\x1bZ')
    t.session.print('\x1b[?1004h\x1b]52;c;?\x07\x1b]52;;?\x07')
    await t.drawn('done')
    await t.page.waitForTimeout(200)
    expect(JSON.stringify(t.input)).toBe('""')
    await t.page.keyboard.type('y')
    await until('a key', () => t.input === 'y')
  })

  test('copies by OSC 52 after a gesture and says so; otherwise it asks', async () => {
    await t.context.grantPermissions(['clipboard-read', 'clipboard-write'])
    await t.openLive()
    // Playwright's own calls count as a gesture, which Chromium remembers for 5 s.
    await new Promise((resolve) => setTimeout(resolve, 6_000))
    t.session.print(`\x1b]52;c;${Buffer.from('from afar').toString('base64')}\x07`)
    await new Promise((resolve) => setTimeout(resolve, 500))
    await t.page.locator('.toast', { hasText: 'wants to copy 9 characters' }).waitFor()
    expect(await t.page.evaluate(() => navigator.clipboard.readText())).not.toBe('from afar')
    await t.page.keyboard.press('a')
    t.session.print(`\x1b]52;;${Buffer.from('just now').toString('base64')}\x07`)
    await t.page.locator('.toast', { hasText: 'The program copied 8 characters' }).waitFor()
    expect(await t.page.evaluate(() => navigator.clipboard.readText())).toBe('just now')
    expect(t.input).toBe('a')
  })

  test.each([80, 1_000])('tells that %i KB are too much to copy, and copies nothing', async (kilobytes) => {
    await t.context.grantPermissions(['clipboard-read', 'clipboard-write'])
    await t.openLive()
    await t.page.evaluate(() => navigator.clipboard.writeText('from before'))
    // What was printed before the page came copies nothing.
    await t.page.waitForTimeout(3_000)
    t.session.print(`\x1b]52;c;${Buffer.alloc(kilobytes * 1024, 'x').toString('base64')}\x07`)
    await t.page.locator('.toast', { hasText: 'tried to copy more than 75 KB' }).waitFor()
    expect(await t.page.evaluate(() => navigator.clipboard.readText())).toBe('from before')
  })

  test('shows what the session runs beside its state and above its stages, and not in the tab’s title', async () => {
    const command = 'npm run build -- --mode <b>production</b>'
    t.session.setStatus({ status: 'running', stage: 'running', command })
    await t.openLive('ro')
    expect(await t.page.locator('#command').innerText()).toBe(command)
    expect(await t.page.title()).toBe(`▶ ${t.session.id.slice(0, 8)} · CLI Scale`)
    // A status need not name it again.
    t.session.setStatus({ status: 'running', stage: 'running' })
    t.session.title('vim')
    await until('the program’s own title', async () => (await t.page.title()).includes('· vim ·'))
    await t.page.setViewportSize({ width: 360, height: 640 })
    expect(await t.page.locator('#command').isVisible()).toBe(false)
    await t.page.locator('#pill').click()
    await t.page.locator('#details-command', { hasText: command }).waitFor()
  })

  test('cleans a title and puts it between the session and our name', async () => {
    await t.openLive()
    t.session.print('\x1b]0;bank\u202e.com <b>\x07')
    await until('the title', async () => /^▶ [0-9a-f]{8} · bank\.com <b> · CLI Scale$/.test(await t.page.title()))
    t.session.title('x'.repeat(500))
    await until('the cut title', async () => (await t.page.title()).includes('xxx'))
    expect(await t.page.title()).toMatch(/^▶ [0-9a-f]{8} · x{80} · CLI Scale$/)
  })
})

describePage('widths on the page', (t) => {
  test('are those of the session host: Unicode 16, and two columns for an emoji of several code points', async () => {
    await t.openLive()
    await t.drawn('ready')
    // The hidden text field is at the cursor.
    const cursorLeft = (): Promise<number> =>
      t.page
        .locator('.xterm-helper-textarea')
        .evaluate((element) => Number.parseFloat((element as HTMLElement).style.left))
    const cellWidth = (await cursorLeft()) / 'ready'.length
    const samples = {
      '🥲': 2,
      '\u{1fae9}': 2,
      '👨‍👩‍👧': 2,
      '👍🏽': 2,
      '🇩🇪': 2,
      '❤️': 2,
      '❤': 1,
      'e\u0301': 1,
      漢: 2,
      '\u1112\u1161\u11ab': 2,
    }
    const seen: Record<string, number> = {}
    for (const text of Object.keys(samples)) {
      t.session.print(`\r\x1b[K${text}`)
      await until(`${text} is drawn`, async () => (await t.savedOutput()).includes(text))
      await until('the cursor is there', async () => (await cursorLeft()) > 0)
      await t.page.waitForTimeout(100)
      seen[text] = Math.round((await cursorLeft()) / cellWidth)
    }
    expect(seen).toEqual(samples)
  })
})

describePage('the colours of the page', (t) => {
  /** What the page is drawn in, and what it reported. */
  const shown = async (colours: TerminalColours): Promise<void> => {
    await until('the session is told', () => t.session.colours.at(-1)?.background === colours.background)
    expect(t.session.colours.at(-1)).toEqual(colours)
    const hex = Number.parseInt(colours.background.slice(1), 16)
    const background = `rgb(${hex >> 16}, ${(hex >> 8) & 255}, ${hex & 255})`
    await until('it is drawn so', async () => {
      const viewport = t.page.locator('#terminal .xterm-scrollable-element')
      return (await viewport.evaluate((element) => getComputedStyle(element).backgroundColor)) === background
    })
  }

  test('are sent with the first message and with each change of the system or the setting, once', async () => {
    await t.page.emulateMedia({ colorScheme: 'light' })
    await t.openLive()
    await shown(LIGHT_COLOURS)
    await t.page.emulateMedia({ colorScheme: 'dark' })
    await shown(DARK_COLOURS)
    await t.page.locator('#open-settings').click()
    await t.page.getByText('Light', { exact: true }).click()
    await shown(LIGHT_COLOURS)
    await t.page.emulateMedia({ colorScheme: 'light' })
    await t.page.locator('#font-larger').click()
    await t.page.waitForTimeout(500)
    expect(t.session.colours).toHaveLength(3)
    t.session.cut()
    await until('the next connection', () => t.session.hellos.length === 2)
    expect(t.session.colours).toEqual([LIGHT_COLOURS, DARK_COLOURS, LIGHT_COLOURS, LIGHT_COLOURS])
  })

  test('are not sent by a view-only page', async () => {
    await t.openLive('ro')
    await t.page.emulateMedia({ colorScheme: 'dark' })
    await t.page.waitForTimeout(300)
    expect(t.session.colours).toHaveLength(1)
  })
})

describePage('paste into the page', (t) => {
  const ATTACK = 'x \x1b[201~ \r touch pwned \r'

  test('cannot escape its brackets', async () => {
    await t.openLive()
    await t.drawn('ready', '\x1b[?2004h')
    await t.paste(ATTACK)
    await until('the paste', () => t.input.endsWith('\x1b[201~'))
    expect(t.input).toBe('\x1b[200~x [201~ \r touch pwned \r\x1b[201~')
  })

  test('of several lines asks first where each line would run', async () => {
    await t.openLive()
    await t.paste(ATTACK)
    await t.page.locator('dialog', { hasText: 'Paste 2 lines?' }).waitFor()
    await t.page.keyboard.press('Escape')
    await t.page.locator('dialog').waitFor({ state: 'detached' })
    expect(t.input).toBe('')
    await t.paste('one\ntwo')
    await t.page.getByRole('button', { name: 'Paste' }).click()
    await until('the paste', () => t.input === 'one\rtwo')
  })

  test('that is larger than a message arrives complete', async () => {
    await t.openLive()
    await t.drawn('ready', '\x1b[?2004h')
    const text = 'é0123456789'.repeat(20_000)
    await t.paste(text)
    await until('the paste', () => t.input.endsWith('\x1b[201~'), 10_000)
    expect(t.input).toBe(`\x1b[200~${text}\x1b[201~`)
  })
})
