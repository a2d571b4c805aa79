/** The page in Chromium, at a real ttyd behind the gateway. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { TestDatabase } from '@cliscale/test-kit'
import { findChromium, launchChromium } from '../../e2e/src/chromium.ts'
import { freePort } from '../../e2e/src/system.ts'
import { createDatabase, createKeys, Rig, until } from './support.ts'

type Browser = Awaited<ReturnType<typeof launchChromium>>
type Page = Awaited<ReturnType<Browser['newPage']>>

const ttyd = process.env['TTYD_BIN']
const chromium = findChromium()

if (ttyd !== undefined && chromium !== undefined) describeTtydPage(ttyd, chromium)
else {
  process.stderr.write('The page is not tried at a real ttyd: that needs TTYD_BIN and Chromium (CHROMIUM_BIN).\n')
  test('not tested: no ttyd or no Chromium here', () => expect(ttyd === undefined || chromium === undefined).toBe(true))
}

interface WebBuild {
  readonly buildWeb: (options: { publicDir: string }) => Promise<unknown>
}

/** A program that queries its terminal, prints its size, and then becomes a shell. */
const PROGRAM = `stty -echo; printf '\\033[6n'; IFS= read -rs -d R answer; stty echo; echo "cursor answered \${answer#*[}"; stty size; exec bash --norc`

function describeTtydPage(ttydBin: string, chromiumBin: string): void {
  describe('the page with an image that brings its own ttyd', () => {
    let database: TestDatabase
    let publicDir: string
    let rig: Rig
    let browser: Browser
    let page: Page
    let terminal: ChildProcess
    let port: number
    const faults: string[] = []

    beforeAll(async () => {
      database = await createDatabase()
      publicDir = await mkdtemp(path.join(os.tmpdir(), 'cliscale-page-'))
      const build = (await import('../../scripts/build-web.mjs' as string)) as WebBuild
      await build.buildWeb({ publicDir })
      rig = await Rig.start(database, await createKeys(), { publicDir, limits: { pollMs: 200, statusMs: 300 } })
      port = await freePort()
      terminal = spawn(ttydBin, ['-W', '-i', '127.0.0.1', '-p', String(port), 'bash', '-c', PROGRAM], {
        stdio: 'ignore',
      })
      browser = await launchChromium(chromiumBin)
      const context = await browser.newContext({ viewport: { width: 900, height: 560 } })
      page = await context.newPage()
      page.on('pageerror', (error) => faults.push(String(error)))
      // Without WebGL xterm.js draws into elements, whose text can be read.
      await page.addInitScript(() => {
        // oxlint-disable-next-line typescript/unbound-method -- called with its canvas below
        const getContext = HTMLCanvasElement.prototype.getContext
        HTMLCanvasElement.prototype.getContext = function (this: HTMLCanvasElement, kind: string, ...rest: unknown[]) {
          return kind === 'webgl2' ? null : Reflect.apply(getContext, this, [kind, ...rest])
        } as typeof getContext
      })
    })
    afterAll(async () => {
      await browser.close()
      terminal.kill('SIGKILL')
      await rig[Symbol.asyncDispose]()
      await rm(publicDir, { recursive: true, force: true })
      await database[Symbol.asyncDispose]()
    })

    const shows = (text: string): Promise<boolean> =>
      until(
        async () => (await page.locator('.xterm-rows').innerText()).replaceAll('\u00a0', ' ').includes(text),
        10_000,
      )
    const state = (kind: string) => page.waitForSelector(`body[data-state="${kind}"]`, { timeout: 10_000 })

    test('shows why it waits, goes live, answers queries, resizes, says what it cannot do, and starts nothing by itself', async () => {
      const sid = await rig.seed({ kind: 'ttyd', status: 'scheduling', stage: 'pulling_image', podUid: null })
      await database.query(
        `update sessions set wait_reason = 'image_pull', wait_detail = 'No such image.' where id = $1`,
        [sid],
      )
      await page.goto(`${rig.origin}/ws/${sid}?token=${await rig.token(sid)}`)
      await state('waiting')
      await page.locator('#overlay', { hasText: 'Pulling image' }).waitFor()
      await page.locator('#overlay', { hasText: 'No such image.' }).waitFor()

      await database.query(
        `update sessions set status = 'running', stage = 'running', pod_uid = 'pod-1', started_at = now(),
           wait_reason = null, wait_detail = null where id = $1`,
        [sid],
      )
      await rig.endpoint(sid, port)
      await state('live')
      // Only xterm.js can answer here; the gateway's lines about the wait are not in the terminal.
      await shows('cursor answered 1;1')
      expect(await page.locator('.xterm-rows').innerText()).not.toContain('[cliscale]')
      await page.keyboard.type('echo typed $((6*7)); stty size\n')
      await shows('typed 42')
      await page.setViewportSize({ width: 700, height: 400 })
      await page.waitForTimeout(500)
      await page.keyboard.type('clear; echo now $(stty size)\n')
      const rows = await page.evaluate(() => document.querySelectorAll('.xterm-rows > div').length)
      await shows(`now ${rows} `)

      await page.locator('#own-terminal').click()
      for (const text of ['is not shown again', 'no view-only links', 'No exit code'])
        await page.locator('#own-terminal-note', { hasText: text }).waitFor()
      await page.keyboard.press('Escape')
      await page.locator('#open-log').click()
      expect(await page.locator('#log-menu .command').isVisible()).toBe(false)
      await page.locator('#log-menu', { hasText: 'keeps no log of this session' }).waitFor()
      await page.keyboard.press('Escape')

      await page.locator('.xterm-helper-textarea').focus()
      await page.keyboard.type('exit\n')
      await state('stopped')
      await page.locator('#end', { hasText: 'the program starts anew' }).waitFor()
      await page.locator('#end button').click()
      await state('live')
      await shows('cursor answered')

      await database.query(
        `update sessions set status = 'stopped', reason = 'stopped_by_user', detail = 'Stopped.', ended_at = now() where id = $1`,
        [sid],
      )
      terminal.kill('SIGKILL')
      await state('ended')
      expect(await page.locator('#pill-text').innerText()).toBe('ended · stopped')
      expect(faults).toEqual([])
      // The gateway dialled ttyd without an assertion: its log has no 401.
      expect(rig.logs.join()).not.toContain('pod_401')
    })

    test('draws a flood without freezing the page, and Ctrl-C ends it', async () => {
      port = await freePort()
      terminal = spawn(ttydBin, ['-W', '-i', '127.0.0.1', '-p', String(port), 'bash', '--norc'], {
        stdio: 'ignore',
        env: { ...process.env, PS1: 'ready> ' },
      })
      const sid = await rig.seed({ kind: 'ttyd', port })
      await page.goto(`${rig.origin}/ws/${sid}?token=${await rig.token(sid)}`)
      await state('live')
      await shows('ready>')
      await page.keyboard.type('yes flooded\n')
      await shows('flooded\nflooded')
      await page.waitForTimeout(2_000)
      await page.keyboard.press('Control+c')
      await page.keyboard.type('clear; echo it is over\n')
      await shows('it is over')
      expect(faults).toEqual([])
    })
  })
}
