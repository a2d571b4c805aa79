import { expect, test } from '@jest/globals'
import { readFile } from 'node:fs/promises'
import { describePage } from '../src/page-fixture.ts'
import { until } from '../src/system.ts'

describePage('using the page', (t) => {
  test('Esc then Tab leaves the terminal, and the focus is seen', async () => {
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

  test('a link opens with Ctrl only, after its real address was shown, and without ties', async () => {
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
      /evil\.example[^]*Its text says something else: “https:\/\/bank\.example\/”/,
    )
    const open = dialog.getByRole('link', { name: 'Open' })
    expect(await open.getAttribute('rel')).toBe('noopener noreferrer')
    expect(await open.getAttribute('href')).toBe('https://evil.example/x')
  })

  test('fits a phone: nothing is cut off at 360 px', async () => {
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

  test('settings are kept in this browser', async () => {
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
