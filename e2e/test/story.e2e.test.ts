import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { Browser, Page } from 'playwright-core'
import { findChromium, launchChromium } from '../src/chromium.ts'
import { type System, startSystem } from '../src/system.ts'

/** Pictures of each state, for a person to look at. */
const PICTURES = path.resolve(import.meta.dirname, '../../.cache/screenshots')
const SAMPLE = path.resolve(import.meta.dirname, '../../sample-cli')

const caCerts = process.env['NODE_EXTRA_CA_CERTS']
const executablePath = findChromium()
if (executablePath === undefined) {
  test('a session in a browser is not tested: there is no Chromium (apt-get install chromium, or CHROMIUM_BIN)', () => {
    expect(executablePath).toBeUndefined()
  })
} else {
  describe.each(['light', 'dark'] as const)('a session in a browser, %s', (colorScheme) => {
    let system: System
    let browser: Browser
    beforeAll(async () => {
      await mkdir(PICTURES, { recursive: true })
      system = await startSystem()
      browser = await launchChromium(executablePath)
    })
    afterAll(async () => {
      await browser.close()
      await system[Symbol.asyncDispose]()
    })

    /** A tab in a browser of its own: it has nobody's cookies but its own. */
    const newTab = async (): Promise<Page> => {
      const context = await browser.newContext({ viewport: { width: 1100, height: 700 }, colorScheme })
      const page = await context.newPage()
      page.setDefaultTimeout(20_000)
      return page
    }
    const state = (page: Page, kind: string) => page.waitForSelector(`body[data-state="${kind}"]`)
    const picture = (page: Page, name: string) =>
      page.screenshot({ path: path.join(PICTURES, `${name}-${colorScheme}.png`) })
    const output = (page: Page): Promise<string> =>
      page.evaluate(async () => {
        let saved: Blob | undefined
        const createObjectURL = URL.createObjectURL.bind(URL)
        URL.createObjectURL = (blob: Blob) => createObjectURL((saved = blob))
        document.getElementById('download-output')?.click()
        URL.createObjectURL = createObjectURL
        return saved ? saved.text() : ''
      })

    test.each(['js', 'css'])('loads although a gateway of another build is asked for its first %s', async (kind) => {
      const page = await newTab()
      let asked = 0
      await page.route(`**/terminal-*.${kind}`, (route) => {
        const other = `${system.base}/ws/assets/terminal-00000000.${kind}`
        return route.continue(asked++ === 0 ? { url: other } : {})
      })
      const session = await system.create({ command: 'cat' })
      await page.goto(session.terminalUrl)
      await state(page, 'live')
      expect(asked).toBe(2)
      await system.stop(session.sessionId)
      await page.context().close()
    })

    test('waits, goes live, ends with 0, and shows all that again after a reload; the token leaves the address bar', async () => {
      const page = await newTab()
      const session = await system.create({
        code_url: SAMPLE,
        install_cmd: 'sleep 3; npm ci --no-audit --no-fund',
        command: 'node index.js run',
        prompt: 'Say hello',
        // of the machine than of a gateway. It only must not hang.
        ...(caCerts ? { env: { NODE_EXTRA_CA_CERTS: caCerts } } : {}),
      })
      await page.goto(session.terminalUrl)
      await state(page, 'waiting')
      expect(page.url()).toBe(`${system.base}/ws/${session.sessionId}`)
      await picture(page, 'waiting')
      await state(page, 'live')
      await page.waitForTimeout(5_000)
      await picture(page, 'live')
      await page.waitForSelector('body[data-state="ended"]', { timeout: 60_000 })
      await picture(page, 'ended-0')
      const before = await output(page)
      expect(before).toContain('with exit code 0')
      await system.ended(session.sessionId)
      await page.reload()
      await state(page, 'ended')
      expect(await page.locator('#pill-text').innerText()).toBe('ended · exit code 0')
      expect((await output(page)).trim()).toBe(before.trim())
      await page.context().close()
    })

    test('accepts typed input, ends with 3, and tells a second browser that the link was used', async () => {
      const page = await newTab()
      const session = await system.create({ command: 'read -p "Your name? " name; echo "Hello, $name."; exit 3' })
      await page.goto(session.terminalUrl)
      await state(page, 'live')
      await page.locator('.xterm-helper-textarea').focus()
      await page.keyboard.type('Ada')
      await page.keyboard.press('Enter')
      await state(page, 'ended')
      expect(await output(page)).toContain('Your name? Ada\nHello, Ada.')
      await picture(page, 'ended-3')

      const second = await newTab()
      await second.goto(session.terminalUrl)
      await state(second, 'stopped')
      expect(await second.locator('#pill-text').innerText()).toBe('link already used')
      await picture(second, 'link-used')
      await second.context().close()
      await page.context().close()
    })

    test('says that it reconnects while the server is down, and resumes where it was', async () => {
      const page = await newTab()
      const session = await system.create({ command: 'for i in $(seq 1 60); do echo "step $i of 60"; sleep 0.2; done' })
      await page.goto(session.terminalUrl)
      await state(page, 'live')
      await page.waitForTimeout(2_000)
      process.kill(await system.serverPid(), 'SIGKILL')
      await state(page, 'reconnecting')
      await picture(page, 'reconnecting')
      await state(page, 'live')
      await state(page, 'ended')
      const expected = Array.from({ length: 60 }, (_, i) => `step ${i + 1} of 60`).join('\n')
      expect((await output(page)).trim()).toBe(expected)
      await page.context().close()
    })
  })
}
