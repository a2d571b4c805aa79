import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { findChromium, launchChromium } from './chromium.ts'
import { PageServer } from './page-server.ts'
import type { PageSession } from './page-session.ts'
import { until } from './system.ts'

interface WebBuild {
  readonly buildWeb: (options: { publicDir: string; packs: boolean }) => Promise<unknown>
}

/** What every test of the page starts from: a fresh server, session, browser context and tab. */
export class PageFixture {
  server!: PageServer
  session!: PageSession
  browser!: Browser
  context!: BrowserContext
  page!: Page
  /** Script errors and everything the browser complains about, but for refused requests: some tests are about those. */
  faults: string[] = []

  async open(publicDir: string, browser: Browser): Promise<void> {
    this.browser = browser
    this.server = await PageServer.start(publicDir)
    this.session = this.server.createSession()
    this.session.setStatus({ status: 'running', stage: 'running' })
    this.context = await browser.newContext({ viewport: { width: 900, height: 560 } })
    this.page = await this.context.newPage()
    this.page.setDefaultTimeout(10_000)
    this.#watchFaults()
    await this.page.addInitScript(() => {
      const createObjectURL = URL.createObjectURL.bind(URL)
      URL.createObjectURL = (blob: Blob) => {
        ;(window as unknown as { saved: Blob }).saved = blob
        return createObjectURL(blob)
      }
    })
  }

  async close(): Promise<void> {
    await this.context.close()
    await this.server[Symbol.asyncDispose]()
  }

  /** What the session got as input so far. */
  get input(): string {
    return this.session.input.toString()
  }

  /** Lets xterm.js use its own renderer, whose text can be read from the page. Call before the page is opened. */
  async withoutWebgl(): Promise<void> {
    await this.page.addInitScript(() => {
      // oxlint-disable-next-line typescript/unbound-method -- called with its canvas below
      const getContext = HTMLCanvasElement.prototype.getContext
      HTMLCanvasElement.prototype.getContext = function (this: HTMLCanvasElement, kind: string, ...rest: unknown[]) {
        return kind === 'webgl2' ? null : Reflect.apply(getContext, this, [kind, ...rest])
      } as typeof getContext
    })
  }

  async openLive(mode: 'rw' | 'ro' = 'rw'): Promise<void> {
    await this.page.goto(this.session.newLink(this.server.origin, mode))
    await this.state('live')
  }

  /** Waits until the page is in a state of the connection. */
  async state(kind: string): Promise<void> {
    await this.page.waitForSelector(`body[data-state="${kind}"]`)
  }

  pill(): Promise<string> {
    return this.page.locator('#pill-text').innerText()
  }

  /** What is on the screen; only without WebGL. */
  rows(): Promise<string> {
    return this.page.locator('.xterm-rows').innerText()
  }

  /** Prints and waits until the page holds it; `escapes` come before and are not looked for. */
  async drawn(marker: string, escapes = ''): Promise<void> {
    this.session.print(escapes + marker)
    await until(`${marker} is drawn`, async () => (await this.savedOutput()).includes(marker))
  }

  /** The whole output as the page saves it: the content of the file, because Chromium lets a page download once. */
  savedOutput(): Promise<string> {
    return this.page.evaluate(() => {
      document.getElementById('download-output')?.click()
      return (window as unknown as { saved: Blob }).saved.text()
    })
  }

  paste(text: string): Promise<void> {
    return this.page.evaluate((data) => {
      const clipboardData = new DataTransfer()
      clipboardData.setData('text/plain', data)
      const event = new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true })
      document.querySelector('.xterm-helper-textarea')?.dispatchEvent(event)
    }, text)
  }

  #watchFaults(): void {
    this.faults = []
    this.page.on('pageerror', (error) => this.faults.push(String(error)))
    this.page.on('console', (message) => {
      if (message.type() !== 'error' || /Failed to load resource|WebSocket connection/.test(message.text())) return
      this.faults.push(message.text())
    })
  }
}

/** Registers tests of the built page in Chromium; where there is none, says so and registers that. */
export function describePage(name: string, register: (t: PageFixture) => void): void {
  const executablePath = findChromium()
  if (executablePath === undefined) {
    process.stderr.write(`${name}: not tried in a browser, there is no Chromium here (set CHROMIUM_BIN).\n`)
    test(`${name}: no Chromium here`, () => expect(findChromium()).toBeUndefined())
    return
  }
  // oxlint-disable-next-line jest/valid-title -- the caller's title
  describe(name, () => {
    const t = new PageFixture()
    let publicDir: string
    let browser: Browser
    beforeAll(async () => {
      publicDir = await mkdtemp(path.join(os.tmpdir(), 'cliscale-page-'))
      const build = (await import('../../scripts/build-web.mjs' as string)) as WebBuild
      await build.buildWeb({ publicDir, packs: false })
      browser = await launchChromium(executablePath)
    })
    afterAll(async () => {
      await browser.close()
      await rm(publicDir, { recursive: true })
    })
    beforeEach(() => t.open(publicDir, browser))
    afterEach(() => t.close())
    register(t)
  })
}
