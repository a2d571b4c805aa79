import { mkdtemp, readFile, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { findChromium, launchChromium } from '../src/chromium.ts'
import { PageServer } from '../src/page-server.ts'
import type { PageSession } from '../src/page-session.ts'

const chromiumPath = findChromium()
if (chromiumPath === undefined) {
  process.stderr.write('The page is not tried in a browser: no Chromium here (set CHROMIUM_BIN).\n')
  test('without a Chromium there is nothing to try', () => expect(findChromium()).toBeUndefined())
} else describeIn(chromiumPath)

function describeIn(executablePath: string): void {
  let publicDir: string
  let server: PageServer
  let browser: Browser
  let context: BrowserContext
  let page: Page
  let session: PageSession
  let faults: string[]

  beforeAll(async () => {
    publicDir = await mkdtemp(path.join(os.tmpdir(), 'cliscale-page-'))
    const { buildWeb } = (await import('../../scripts/build-web.mjs' as string)) as {
      buildWeb(options: { publicDir: string }): Promise<unknown>
    }
    await buildWeb({ publicDir })
    browser = await launchChromium(executablePath)
  })
  afterAll(async () => {
    await browser.close()
    await rm(publicDir, { recursive: true })
  })
  beforeEach(async () => {
    server = await PageServer.start(publicDir)
    session = server.createSession()
    session.setStatus({ status: 'running', stage: 'running' })
    context = await browser.newContext({ viewport: { width: 900, height: 560 } })
    await newPage()
  })
  afterEach(async () => {
    await context.close()
    await server[Symbol.asyncDispose]()
  })

  async function newPage(): Promise<void> {
    page = await context.newPage()
    page.setDefaultTimeout(10_000)
    faults = []
    await page.addInitScript(() => {
      const createObjectURL = URL.createObjectURL
      URL.createObjectURL = (blob: Blob) => {
        ;(window as unknown as { saved: Blob }).saved = blob
        return createObjectURL.call(URL, blob)
      }
    })
    page.on('pageerror', (error) => faults.push(String(error)))
    page.on('console', (message) => {
      // A refused request is what some tests are about; a policy that is broken never is.
      if (message.type() === 'error' && !/Failed to load resource|WebSocket connection/.test(message.text())) {
        faults.push(message.text())
      }
    })
  }
  /** xterm.js's own renderer, whose text can be read from the page. */
  async function withoutWebgl(): Promise<void> {
    await page.addInitScript(() => {
      const getContext = HTMLCanvasElement.prototype.getContext
      HTMLCanvasElement.prototype.getContext = function (this: HTMLCanvasElement, kind: string, ...rest: unknown[]) {
        return kind === 'webgl2' ? null : Reflect.apply(getContext, this, [kind, ...rest])
      } as typeof getContext
    })
  }
  const pill = (): Promise<string> => page.locator('#pill-text').innerText()
  const state = (kind: string) => page.waitForSelector(`body[data-state="${kind}"]`, { timeout: 10_000 })
  async function openLive(mode: 'rw' | 'ro' = 'rw'): Promise<void> {
    await page.goto(session.newLink(server.origin, mode))
    await state('live')
  }
  async function until(what: string, holds: () => boolean | Promise<boolean>, limitMs = 5_000): Promise<void> {
    const end = Date.now() + limitMs
    while (!(await holds())) {
      if (Date.now() > end) throw new Error(`not within ${limitMs} ms: ${what}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  const rows = (): Promise<string> => page.locator('.xterm-rows').innerText()
  const input = (): string => session.input.toString()
  /** Prints and waits until the page holds it; `escapes` come before and are not looked for. */
  async function drawn(marker: string, escapes = ''): Promise<void> {
    session.print(escapes + marker)
    await until(`${marker} is drawn`, async () => (await savedOutput()).includes(marker))
  }
  /** The whole output as the page saves it. Chromium lets a page download once; later the file's content is taken. */
  function savedOutput(): Promise<string> {
    return page.evaluate(() => {
      document.getElementById('download-output')?.click()
      return (window as unknown as { saved: Blob }).saved.text()
    })
  }
  function paste(text: string): Promise<void> {
    return page.evaluate((data) => {
      const clipboardData = new DataTransfer()
      clipboardData.setData('text/plain', data)
      const event = new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true })
      document.querySelector('.xterm-helper-textarea')?.dispatchEvent(event)
    }, text)
  }

  describe('attached', () => {
    test('the token is out of the address and the history before anything else is asked', async () => {
      const link = session.newLink(server.origin)
      await page.goto(link)
      await state('live')
      expect(page.url()).toBe(`${server.origin}/ws/${session.id}`)
      expect(await page.evaluate(() => history.length)).toBeLessThanOrEqual(2)
      const token = link.split('token=')[1] ?? ''
      expect(server.requests.filter((request) => request.includes(token))).toHaveLength(1)
    })

    test.each(['webgl', 'dom'])('draws by %s with no fault under the strict policy', async (renderer) => {
      if (renderer === 'dom') await withoutWebgl()
      session.print('\x1b[31mred\x1b[0m \x1b[38;2;1;200;3mtrue colour\x1b[0m \x1b[1;4mbold\x1b[0m 漢字 👩‍👩‍👧\r\n')
      await openLive()
      await drawn('here')
      expect(await page.locator('#terminal').getAttribute('data-renderer')).toBe(renderer)
      if (renderer === 'dom') {
        const red = page.locator('.xterm-rows span', { hasText: /^red$/ })
        const colour = await red.evaluate((element) => getComputedStyle(element).color)
        expect(colour).toBe('rgb(196, 48, 59)')
        const truecolour = page.locator('.xterm-rows span', { hasText: 'true colour' })
        expect(await truecolour.getAttribute('style')).toContain('color')
      }
      expect(await savedOutput()).toContain('true colour bold 漢字 👩‍👩‍👧')
      expect(faults).toEqual([])
    })

    test('what is typed arrives as UTF-8, in order', async () => {
      await openLive()
      await page.keyboard.type('échø "漢" ')
      await page.keyboard.press('Enter')
      await page.keyboard.press('ArrowUp')
      await page.keyboard.press('Control+c')
      await until('all of it', () => input().endsWith('\x03'))
      expect(input()).toBe('échø "漢" \r\x1b[A\x03')
    })

    test('a window that is dragged sends one RESIZE', async () => {
      await openLive()
      await page.waitForTimeout(300)
      expect(session.resizes).toEqual([])
      for (const width of [890, 860, 820, 780, 760]) await page.setViewportSize({ width, height: 480 })
      await until('a RESIZE', () => session.resizes.length > 0)
      await page.waitForTimeout(700)
      expect(session.resizes).toHaveLength(1)
      expect(session.resizes[0]?.columns).toBeLessThan(session.hellos[0]?.columns ?? 0)
    })

    test('questions of a program are never answered by the page', async () => {
      await openLive()
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
      session.print(questions.map((question) => `\x1b[${question}`).join(''))
      session.print('\x1bP$qm\x1b\\\x1bP+q544e\x1b\\\x1b]4;1;?\x07\x1b]10;?\x07\x1b]11;?\x1b\\\x1b]12;?\x07\x1bZ')
      session.print('\x1b[?1004h\x1b]52;c;?\x07\x1b]52;;?\x07')
      await drawn('done')
      await page.waitForTimeout(200)
      expect(JSON.stringify(input())).toBe('""')
      await page.keyboard.type('y')
      await until('a key', () => input() === 'y')
    })

    test('OSC 52 copies after a gesture and says so; otherwise it asks', async () => {
      await context.grantPermissions(['clipboard-read', 'clipboard-write'])
      await openLive()
      // Playwright's own calls count as a gesture, which Chromium remembers for 5 s.
      await new Promise((resolve) => setTimeout(resolve, 6_000))
      session.print(`\x1b]52;c;${Buffer.from('from afar').toString('base64')}\x07`)
      await new Promise((resolve) => setTimeout(resolve, 500))
      await page.locator('.toast', { hasText: 'wants to copy 9 characters' }).waitFor()
      expect(await page.evaluate(() => navigator.clipboard.readText())).not.toBe('from afar')
      await page.keyboard.press('a')
      session.print(`\x1b]52;;${Buffer.from('just now').toString('base64')}\x07`)
      await page.locator('.toast', { hasText: 'The program copied 8 characters' }).waitFor()
      expect(await page.evaluate(() => navigator.clipboard.readText())).toBe('just now')
      expect(input()).toBe('a')
    })

    test('a title is cleaned and stands behind our name', async () => {
      await openLive()
      session.print('\x1b]0;bank\u202e.com <b>\x07')
      await until('the title', async () => (await page.title()) === '▶ CLI Scale · bank.com <b>')
      session.title('x'.repeat(500))
      await until('the cut title', async () => (await page.title()) === `▶ CLI Scale · ${'x'.repeat(80)}`)
    })
  })

  describe('paste', () => {
    const ATTACK = 'x \x1b[201~ \r touch pwned \r'

    test('cannot leave its brackets', async () => {
      await openLive()
      await drawn('ready', '\x1b[?2004h')
      await paste(ATTACK)
      await until('the paste', () => input().endsWith('\x1b[201~'))
      expect(input()).toBe('\x1b[200~x [201~ \r touch pwned \r\x1b[201~')
    })

    test('of several lines asks first where each would run', async () => {
      await openLive()
      await paste(ATTACK)
      await page.locator('dialog', { hasText: 'Paste 2 lines?' }).waitFor()
      await page.keyboard.press('Escape')
      await page.locator('dialog').waitFor({ state: 'detached' })
      expect(input()).toBe('')
      await paste('one\ntwo')
      await page.getByRole('button', { name: 'Paste' }).click()
      await until('the paste', () => input() === 'one\rtwo')
    })

    test('larger than a message arrives whole', async () => {
      await openLive()
      await drawn('ready', '\x1b[?2004h')
      const text = 'é0123456789'.repeat(20_000)
      await paste(text)
      await until('the paste', () => input().endsWith('\x1b[201~'), 10_000)
      expect(input()).toBe(`\x1b[200~${text}\x1b[201~`)
    })
  })

  describe('drops', () => {
    test('ten cuts while numbered lines are printed: no gap, no double, never a blank screen', async () => {
      await withoutWebgl()
      await openLive()
      session.print('line 0\r\n')
      await until('the first line', async () => (await rows()).includes('line 0'))
      await page.evaluate(() => {
        const watched = window as unknown as { blank: number }
        watched.blank = 0
        const look = (): void => {
          const text = document.querySelector<HTMLElement>('.xterm-rows')?.textContent ?? ''
          if (!text.includes('line')) watched.blank += 1
          requestAnimationFrame(look)
        }
        look()
      })
      for (let line = 1; line <= 600; line++) {
        session.print(`line ${line}\r\n`)
        if (line % 60 === 0) session.cut()
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
      await until('the last line', async () => (await savedOutput()).includes('line 600'), 15_000)
      const lines = (await savedOutput()).trimEnd().split('\n')
      expect(lines).toEqual(Array.from({ length: 601 }, (_, line) => `line ${line}`))
      expect(session.hellos.length).toBeGreaterThan(3)
      expect(session.hellos.slice(1).every(({ epoch, have }) => epoch === session.epoch && (have ?? 0) > 0)).toBe(true)
      expect(await page.evaluate(() => (window as unknown as { blank: number }).blank)).toBe(0)
    })

    test('a gateway that restarts is said, counted, and answered at once when the network is back', async () => {
      await openLive()
      server.refuseUpgrades = true
      session.close(1012)
      await state('reconnecting')
      await until('a longer wait', async () => /reconnecting in [3-9] s/.test(await pill()), 20_000)
      expect(await page.locator('#reconnect').isVisible()).toBe(true)
      server.refuseUpgrades = false
      await page.evaluate(() => window.dispatchEvent(new Event('online')))
      await state('live')
      expect(faults).toEqual([])
    })

    test('what is typed while it is down is not sent later, and the page says so', async () => {
      await openLive()
      server.refuseUpgrades = true
      session.cut()
      await state('reconnecting')
      await page.keyboard.type('rm')
      await page.locator('.toast', { hasText: 'not sent' }).waitFor()
      server.refuseUpgrades = false
      await page.locator('#reconnect').click()
      await state('live')
      expect(input()).toBe('')
    })

    test('another epoch or a snapshot replaces the screen', async () => {
      await openLive()
      await drawn('old screen')
      session.epoch = 'another'
      session.output = Buffer.from('gone\r\nsnapshot text')
      session.snapshotFrom = 6
      session.cut()
      await until('the snapshot', async () => (await savedOutput()) === 'snapshot text\n')
      session.print(' and more')
      await until('what follows', async () => (await savedOutput()) === 'snapshot text and more\n')
      session.cut()
      await until('a resume behind it', () => session.hellos.at(-1)?.have === session.output.length)
    })

    test('a lost WebGL context falls back to xterm.js’s own renderer within 4 s', async () => {
      await page.addInitScript(() => {
        const getContext = HTMLCanvasElement.prototype.getContext
        const kept: WebGL2RenderingContext[] = []
        ;(window as unknown as { kept: unknown }).kept = kept
        HTMLCanvasElement.prototype.getContext = function (this: HTMLCanvasElement, kind: string, ...rest: unknown[]) {
          const result: unknown = Reflect.apply(getContext, this, [kind, ...rest])
          if (kind === 'webgl2' && result !== null) kept.push(result as WebGL2RenderingContext)
          return result
        } as typeof getContext
      })
      await openLive()
      await drawn('still here')
      await page.evaluate(() => {
        for (const context of (window as unknown as { kept: WebGL2RenderingContext[] }).kept) {
          context.getExtension('WEBGL_lose_context')?.loseContext()
        }
      })
      await page.waitForSelector('#terminal[data-renderer="dom"]', { timeout: 4_000 })
      await until('text', async () => (await rows()).includes('still here'))
      expect(faults).toEqual([])
    })
  })

  describe('links', () => {
    test('a used link opens nothing in another browser, and says how to get another', async () => {
      const link = session.newLink(server.origin)
      await page.goto(link)
      await state('live')
      const other = await browser.newContext()
      const stranger = await other.newPage()
      await stranger.goto(link)
      await stranger.getByRole('heading', { name: 'This link was used before' }).waitFor()
      expect(await stranger.locator('.command code').first().innerText()).toContain(
        `curl -X POST ${server.origin}/api/sessions/${session.id}/token`,
      )
      expect(await stranger.locator('#pill-text').innerText()).toBe('link already used')
      await other.close()
      await page.keyboard.type('on')
      await until('the first goes on', () => input() === 'on')
    })

    test('the browser that used it gets in again by the same link', async () => {
      const link = session.newLink(server.origin)
      await page.goto(link)
      await state('live')
      await page.goto(link)
      await state('live')
      expect(await pill()).toBe('live')
    })

    test.each([
      ['expired', (id: string) => `/ws/${id}?token=none`],
      ['no access', (id: string) => `/ws/${id}`],
      ['no such session', () => '/ws/00000000-0000-4000-8000-000000000000?token=x'],
    ])('%s', async (word, address) => {
      session.tokens.clear()
      await page.goto(server.origin + address(session.id))
      await state('stopped')
      expect(await pill()).toBe(word)
      expect(faults).toEqual([])
    })

    test('nothing in the address is read as HTML or as a command', async () => {
      const attack = '<img src=x onerror=alert(1)>'
      await page.goto(`${server.origin}/ws/${session.id}?token=${encodeURIComponent(attack)}&command=id`)
      await state('stopped')
      expect(await page.locator('img').count()).toBe(0)
      expect(await page.content()).not.toContain('onerror')
      await page.goto(`${server.origin}/ws/$(id)`)
      await state('stopped')
      expect(await page.content()).not.toContain('$(id)')
      expect(faults).toEqual([])
    })
  })

  describe('the end', () => {
    test.each([
      ['succeeded', 0, '✓', 'Finished'],
      ['failed', 3, '✗', 'Failed'],
    ] as const)(
      '%s with %i: screen, code and duration stay, also after a reload',
      async (status, exitCode, sign, word) => {
        await openLive()
        await drawn('last words')
        session.end({ status, exitCode, reason: exitCode === 0 ? null : 'exit_nonzero', durationMs: 61_000 })
        for (let visit = 0; visit < 2; visit++) {
          await state('ended')
          expect(await pill()).toBe(`ended · exit code ${exitCode}`)
          expect(await page.locator('#end').innerText()).toMatch(
            new RegExp(`${word}[^]*exit code ${exitCode}[^]*1 min 01 s`),
          )
          expect(await page.title()).toMatch(new RegExp(`^${sign} CLI Scale`))
          const icon = await page.locator('link[rel="icon"]').getAttribute('href')
          expect(icon).toContain(exitCode === 0 ? 'ended' : 'failed')
          expect(await savedOutput()).toBe('last words\n')
          if (visit === 0) await page.reload()
        }
        const attempts = session.hellos.length
        await page.waitForTimeout(1500)
        expect(session.hellos).toHaveLength(attempts)
        expect(faults).toEqual([])
      },
    )

    test('the panel covers nothing: the last line is above it', async () => {
      await withoutWebgl()
      session.print(Array.from({ length: 200 }, (_, line) => `line ${line}\r\n`).join('') + 'the very last')
      await openLive()
      session.end({ status: 'failed', signal: 'SIGKILL', reason: 'oom_killed' })
      await state('ended')
      await until('the last line', async () => (await rows()).includes('the very last'))
      const last = await page.locator('.xterm-rows > div', { hasText: 'the very last' }).boundingBox()
      const panel = await page.locator('#end').boundingBox()
      expect((last?.y ?? 0) + (last?.height ?? 0)).toBeLessThanOrEqual(panel?.y ?? 0)
    })

    test('what a server says is text, never HTML', async () => {
      await openLive()
      session.end({ status: 'failed', detail: '<img src=x onerror=alert(1)>', hint: '<script>1</script>' })
      await state('ended')
      expect(await page.locator('#end').innerText()).toContain('<img src=x onerror=alert(1)>')
      expect(await page.locator('img').count()).toBe(0)
    })
  })

  describe('waiting', () => {
    test('names each stage with its seconds until the first byte', async () => {
      session.waiting = true
      const ago = (seconds: number): string => new Date(Date.now() - seconds * 1000).toISOString()
      session.setStatus({ status: 'queued', stage: 'queued', since: ago(30) })
      await page.goto(session.newLink(server.origin))
      await state('waiting')
      session.setStatus({ status: 'starting', stage: 'fetching_code', since: ago(12) })
      session.setStatus({ status: 'starting', stage: 'installing', since: ago(5) })
      await until('the stage', async () => /installing · [5-9] s/.test(await pill()))
      expect(await page.locator('.stage').allInnerTexts()).toEqual([
        expect.stringMatching(/Waiting in the queue\s+18 s/),
        expect.stringMatching(/Fetching code\s+7\.\d s/),
        expect.stringMatching(/Installing\s+\d s/),
      ])
      session.open()
      session.print('first byte')
      await page.locator('#overlay').waitFor({ state: 'hidden' })
    })
  })

  describe('view only', () => {
    test('no key, paste, drop, mouse report, size or answer is ever sent', async () => {
      await openLive('ro')
      await drawn('mouse on', '\x1b[?1000h\x1b[?1006h\x1b[?1004h\x1b[?2004h')
      expect(await page.locator('#view-only').isVisible()).toBe(true)
      await page.keyboard.type('rm -rf')
      await page.keyboard.press('Control+c')
      await paste('pasted')
      await page.mouse.click(200, 200)
      await page.mouse.wheel(0, 300)
      await page.setViewportSize({ width: 600, height: 400 })
      session.print(`\x1b[6n\x1b[c\x1b]52;c;${Buffer.from('x').toString('base64')}\x07`)
      await page.waitForTimeout(800)
      expect(input()).toBe('')
      expect(session.resizes).toEqual([])
      expect(await page.locator('.toast').count()).toBe(0)
    })

    test('a session larger than the window is shrunk into it', async () => {
      session.follows = false
      session.size = { columns: 160, rows: 48 }
      await openLive('ro')
      await page.locator('#size-note', { hasText: '160 × 48' }).waitFor()
      const screen = await page.locator('.xterm-screen').boundingBox()
      expect(screen?.width).toBeLessThanOrEqual(900)
      expect(screen?.height).toBeLessThanOrEqual(520)
      expect(screen?.width).toBeGreaterThan(600)
    })
  })

  describe('hands and eyes', () => {
    test('Esc then Tab leaves the terminal, and the focus is seen', async () => {
      await openLive()
      await page.keyboard.press('Tab')
      await page.keyboard.press('Escape')
      await page.keyboard.press('Tab')
      expect(await page.evaluate(() => document.activeElement?.id)).toBe('open-search')
      expect(input()).toBe('\t\x1b')
    })

    test('the search counts matches over the whole scrollback', async () => {
      session.print(Array.from({ length: 500 }, (_, line) => `row ${line}\r\n`).join(''))
      await openLive()
      await drawn('end')
      await page.keyboard.press('Control+f')
      await page.keyboard.type('row 49')
      await until('the count', async () => /^\d+ of 11$/.test(await page.locator('#search-count').innerText()))
      await page.keyboard.press('Escape')
      await page.keyboard.type('q')
      await until('the terminal has the keys again', () => input() === 'q')
      expect(faults).toEqual([])
    })

    test('a link opens with Ctrl only, after its real address was shown, and without ties', async () => {
      await openLive()
      await drawn('https://bank.example/', '\x1b]8;;https://evil.example/x\x07')
      session.print('\x1b]8;;\x07')
      await page.mouse.click(60, 62)
      await page.waitForTimeout(200)
      expect(await page.locator('dialog').count()).toBe(0)
      await page.keyboard.down('Control')
      await page.mouse.move(70, 62)
      await page.mouse.click(72, 62)
      await page.keyboard.up('Control')
      const dialog = page.locator('dialog')
      await dialog.waitFor()
      expect(await dialog.innerText()).toMatch(
        /evil\.example[^]*Its text says something else: “https:\/\/bank\.example\/”/,
      )
      const open = dialog.getByRole('link', { name: 'Open' })
      expect(await open.getAttribute('rel')).toBe('noopener noreferrer')
      expect(await open.getAttribute('href')).toBe('https://evil.example/x')
    })

    test('fits a phone: nothing is cut off at 360 px', async () => {
      await page.setViewportSize({ width: 360, height: 640 })
      await openLive()
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360)
      for (const id of ['pill', 'open-search', 'open-log', 'open-settings']) {
        const box = await page.locator(`#${id}`).boundingBox()
        expect((box?.x ?? 999) + (box?.width ?? 999)).toBeLessThanOrEqual(360)
      }
    })

    test('the output is saved as a file of plain text', async () => {
      await openLive()
      session.print('one\r\n\x1b[1mtwo\x1b[0m\r\n')
      await until('both', async () => (await savedOutput()) === 'one\ntwo\n')
      await page.reload()
      await state('live')
      const download = page.waitForEvent('download')
      await page.locator('#open-log').click()
      await page.locator('#download-output').click()
      const file = await download
      expect(file.suggestedFilename()).toBe(`cliscale-${session.id}.txt`)
      expect(await readFile(await file.path(), 'utf8')).toBe('one\ntwo\n')
    })

    test('settings are kept in this browser', async () => {
      await openLive()
      await page.locator('#open-settings').click()
      await page.locator('#font-larger').click()
      await page.getByText('Dark', { exact: true }).click()
      await page.reload()
      await state('live')
      expect(await page.locator('#font-size').textContent()).toBe('15')
      expect(await page.evaluate(() => document.documentElement.dataset['theme'])).toBe('dark')
    })
  })

  test('a flood of 10 s keeps the memory flat, the acknowledgements flowing and the keys quick', async () => {
    session.flood = Buffer.from('y\r\n'.repeat(40_000))
    await openLive()
    const cdp = await context.newCDPSession(page)
    const heapMiB = async (): Promise<number> => {
      await cdp.send('HeapProfiler.collectGarbage')
      const { usedSize } = await cdp.send('Runtime.getHeapUsage')
      return usedSize / 2 ** 20
    }
    await page.waitForTimeout(2_000)
    const heapBefore = await heapMiB()
    const [sentBefore, acksBefore] = [session.floodSent, session.acks.length]
    const echoes: number[] = []
    for (let second = 0; second < 10; second++) {
      const before = input().length
      const typedAt = Date.now()
      await page.keyboard.press('a')
      await until('the key', () => input().length > before)
      echoes.push(Date.now() - typedAt)
      await page.waitForTimeout(1_000)
    }
    const mib = (session.floodSent - sentBefore) / 2 ** 20
    const heapAfter = await heapMiB()
    const slowest = Math.max(...echoes)
    process.stdout.write(
      `flood: ${mib.toFixed(0)} MiB in about 10 s, heap ${heapBefore.toFixed(0)} → ${heapAfter.toFixed(0)} MiB, slowest key ${slowest} ms\n`,
    )
    expect(mib).toBeGreaterThan(5)
    expect(session.acks.length - acksBefore).toBeGreaterThan(50)
    expect(heapAfter).toBeLessThan(150)
    expect(heapAfter - heapBefore).toBeLessThan(20)
    expect(faults).toEqual([])
  }, 60_000)
}
