import { describe, expect, test } from '@jest/globals'
import { readFile } from 'node:fs/promises'
import type { Page } from 'playwright-core'
import { describePage } from '../src/page-fixture.ts'
import { until } from '../src/system.ts'

describePage('using the page', (t) => {
  test('Esc then Tab leaves the terminal, and the focus is visible', async () => {
    await t.openLive()
    await t.page.keyboard.press('Tab')
    await t.page.keyboard.press('Escape')
    await t.page.keyboard.press('Tab')
    expect(await t.page.evaluate(() => document.activeElement?.id)).toBe('open-search')
    expect(t.input).toBe('\t\x1b')
  })

  test('the search counts matches over the whole scrollback', async () => {
    t.session.print(Array.from({ length: 500 }, (_, line) => `row ${line}\r\n`).join(''))
    await t.openLive()
    await t.drawn('end')
    await t.page.keyboard.press('Control+f')
    await t.page.keyboard.type('row 49')
    await until('the count', async () => /^\d+ of 11$/.test(await t.page.locator('#search-count').innerText()))
    await t.page.keyboard.press('Escape')
    await t.page.keyboard.type('q')
    await until('the terminal has the keys again', () => t.input === 'q')
    expect(t.faults).toEqual([])
  })

  test('a link opens only with Ctrl, after its real address was shown, and without access to the page', async () => {
    await t.openLive()
    await t.drawn('https://bank.example/', '\x1b]8;;https://evil.example/x\x07')
    t.session.print('\x1b]8;;\x07')
    await t.page.mouse.click(60, 62)
    await t.page.waitForTimeout(200)
    expect(await t.page.locator('dialog').count()).toBe(0)
    await t.page.keyboard.down('Control')
    await t.page.mouse.move(70, 62)
    await t.page.mouse.click(72, 62)
    await t.page.keyboard.up('Control')
    const dialog = t.page.locator('dialog')
    await dialog.waitFor()
    expect(await dialog.innerText()).toMatch(
      /evil\.example[^]*Its text names another address: “https:\/\/bank\.example\/”/,
    )
    const open = dialog.getByRole('link', { name: 'Open' })
    expect(await open.getAttribute('rel')).toBe('noopener noreferrer')
    expect(await open.getAttribute('href')).toBe('https://evil.example/x')
  })

  test.each([
    ['MacIntel', '⌘-click opens https://example.com/', 'Search (⌘F)'],
    ['Win32', 'Ctrl-click opens https://example.com/', 'Search (Ctrl-F)'],
  ])('on %s the page names the keys that are there', async (platform, note, title) => {
    await t.page.addInitScript((name) => Object.defineProperty(navigator, 'platform', { get: () => name }), platform)
    await t.openLive()
    await t.drawn('https://example.com/')
    await t.page.mouse.move(60, 62)
    await t.page.mouse.move(64, 62)
    await t.page.locator('#link-note', { hasText: note }).waitFor()
    expect(await t.page.locator('#open-search').getAttribute('title')).toBe(title)
  })

  test('the search box keeps clear of the match, and supports case and regular expressions', async () => {
    const count = t.page.locator('#search-count')
    await t.openLive()
    await t.drawn('end', `${'.'.repeat(85)}corner\r\n${'\r\n'.repeat(5)}Needle here, needle there\r\n`)
    await t.page.keyboard.press('Control+f')
    await t.page.keyboard.type('corner')
    const bar = t.page.locator('#search')
    await until('the bar is out of the way', async () => ((await bar.boundingBox())?.y ?? 0) > 300)
    await t.page.locator('#search-text').fill('needle')
    await until('both', async () => (await count.innerText()) === '1 of 2')
    await t.page.locator('#search-case').click()
    await until('one', async () => (await count.innerText()) === '1 of 1')
    await t.page.locator('#search-case').click()
    await t.page.locator('#search-text').fill('need(le')
    await t.page.locator('#search-regex').click()
    expect(await count.innerText()).toBe('invalid expression')
    expect(await t.page.locator('#search-text').getAttribute('aria-invalid')).toBe('true')
    await t.page.locator('#search-text').fill('n[aeiou]+dle (h|t)')
    await until('two', async () => (await count.innerText()) === '1 of 2')
    expect(t.faults).toEqual([])
  })

  test('Tab leaves the terminal once nothing can be typed', async () => {
    await t.openLive()
    t.session.end({ status: 'succeeded', exitCode: 0 })
    await t.state('ended')
    await t.page.locator('.xterm-helper-textarea').focus()
    await t.page.keyboard.press('Tab')
    expect(await t.page.evaluate(() => document.activeElement?.closest('.xterm') === null)).toBe(true)
  })

  test('Ctrl-F, and Esc then Tab, reach the program when the user chose that', async () => {
    await t.openLive()
    await t.page.locator('#open-settings').click()
    await t.page.locator('#find-key').uncheck()
    await t.page.locator('#leave-key').uncheck()
    await t.page.keyboard.press('Escape')
    await t.page.locator('.xterm-helper-textarea').focus()
    for (const key of ['Control+f', 'Escape', 'Tab']) await t.page.keyboard.press(key)
    await until('the keys', () => t.input === '\x06\x1b\t')
    await t.page.keyboard.press('Control+Shift+F')
    await t.page.locator('#search').waitFor()
  })

  test('a click beside the cells focuses the terminal', async () => {
    await t.openLive()
    await t.page.locator('#open-search').focus()
    const stage = await t.page.locator('#stage').boundingBox()
    await t.page.mouse.click(4, (stage?.y ?? 0) + (stage?.height ?? 0) - 2)
    await t.page.keyboard.type('x')
    await until('the key', () => t.input === 'x')
  })

  test('another window decides the size until this one takes over', async () => {
    t.session.follows = false
    t.session.size = { columns: 40, rows: 10 }
    await t.openLive()
    t.session.setDriver(false)
    const button = t.page.getByRole('button', { name: 'Use mine' })
    await button.click()
    await until('the wish', () => t.session.resizes.at(-1)?.take === true)
    t.session.setDriver(true)
    await button.waitFor({ state: 'hidden' })
  })

  test('a smaller window keeps 11 px and scrolls, and has its own size again after the end', async () => {
    await t.withoutWebgl()
    t.session.follows = false
    t.session.size = { columns: 200, rows: 60 }
    await t.openLive('ro')
    const fontOf = () => t.page.locator('.xterm-rows').evaluate((rows) => getComputedStyle(rows).fontSize)
    await until('smaller text', async () => (await fontOf()) === '11px')
    t.session.print(`${'\r\n'.repeat(58)}${'x'.repeat(190)}`)
    await until('the cursor in view', () =>
      t.page.locator('#terminal').evaluate((box) => box.scrollTop > 0 && box.scrollLeft > 0),
    )
    t.session.end({ status: 'succeeded', exitCode: 0 })
    await until('its own size', async () => (await fontOf()) === '14px')
    await until('no scrolling', () => t.page.locator('#terminal').evaluate((box) => box.scrollWidth <= box.clientWidth))
  })

  describe('on a touch screen', () => {
    const onPhone = async (use: (page: Page) => Promise<void>): Promise<void> => {
      const viewport = { width: 390, height: 844 }
      const context = await t.browser.newContext({ viewport, hasTouch: true, isMobile: true })
      const page = await context.newPage()
      await page.goto(t.session.newLink(t.server.origin))
      await page.waitForSelector('body[data-state="live"]')
      await use(page)
      await context.close()
    }

    test('a row of keys offers what the device’s keyboard lacks, and Ctrl holds for one key', async () => {
      await onPhone(async (page) => {
        const bar = page.locator('#touch-bar')
        for (const key of ['Esc', 'Tab', 'Up']) await bar.getByRole('button', { name: key }).tap()
        const ctrl = bar.getByRole('button', { name: 'Ctrl' })
        await ctrl.tap()
        expect(await ctrl.getAttribute('aria-pressed')).toBe('true')
        await page.keyboard.type('cc')
        await ctrl.tap()
        await bar.getByRole('button', { name: 'Left' }).tap()
        await until('all', () => t.input === '\x1b\t\x1b[A\x03c\x1b[1;5D')
        expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390)
        t.session.end({ status: 'succeeded', exitCode: 0 })
        await bar.waitFor({ state: 'hidden' })
      })
    })

    test('a tap on a link asks before it opens, and offers to copy it', async () => {
      await onPhone(async (page) => {
        t.session.print('\x1b[2J\x1b[Hhttps://example.com/path')
        await page.waitForTimeout(300)
        await page.touchscreen.tap(60, 60)
        const dialog = page.locator('dialog')
        await dialog.getByRole('button', { name: 'Copy' }).waitFor()
        expect(await dialog.getByRole('link', { name: 'Open' }).getAttribute('href')).toBe('https://example.com/path')
        expect(await page.locator('#link-note').isVisible()).toBe(false)
        expect(await page.locator('#keys').textContent()).toMatch(/Open a linkTap/)
      })
    })

    test('a button that was tapped does not stay lit', async () => {
      await onPhone(async (page) => {
        const button = page.locator('#open-search')
        const colour = () => button.evaluate((element) => getComputedStyle(element).backgroundColor)
        const before = await colour()
        await button.tap()
        await page.locator('#search').waitFor()
        expect(await button.evaluate((element) => element.matches(':hover'))).toBe(true)
        expect(await colour()).toBe(before)
      })
    })
  })

  test('the page fits a phone: nothing is cut off at 360 px', async () => {
    await t.page.setViewportSize({ width: 360, height: 640 })
    await t.openLive()
    expect(await t.page.evaluate(() => document.documentElement.scrollWidth)).toBe(360)
    for (const id of ['pill', 'open-search', 'open-log', 'open-settings']) {
      const box = await t.page.locator(`#${id}`).boundingBox()
      expect((box?.x ?? 999) + (box?.width ?? 999)).toBeLessThanOrEqual(360)
    }
  })

  test('the output is saved as a file of plain text', async () => {
    await t.openLive()
    t.session.print('one\r\n\x1b[1mtwo\x1b[0m\r\n')
    await until('both', async () => (await t.savedOutput()) === 'one\ntwo\n')
    await t.page.reload()
    await t.state('live')
    const download = t.page.waitForEvent('download')
    await t.page.locator('#open-log').click()
    await t.page.locator('#download-output').click()
    const file = await download
    expect(file.suggestedFilename()).toBe(`cliscale-${t.session.id}.txt`)
    expect(await readFile(await file.path(), 'utf8')).toBe('one\ntwo\n')
  })

  test('settings persist in this browser', async () => {
    await t.openLive()
    await t.page.locator('#open-settings').click()
    await t.page.locator('#font-larger').click()
    await t.page.getByText('Dark', { exact: true }).click()
    await t.page.reload()
    await t.state('live')
    expect(await t.page.locator('#font-size').textContent()).toBe('15')
    expect(await t.page.evaluate(() => document.documentElement.dataset['theme'])).toBe('dark')
  })
})
