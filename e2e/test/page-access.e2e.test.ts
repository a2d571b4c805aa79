import { expect, test } from '@jest/globals'
import { ELSEWHERE } from '../src/chromium.ts'
import { describePage } from '../src/page-fixture.ts'
import { until } from '../src/system.ts'

describePage('links to the page', (t) => {
  test('that were used open nothing in another browser, and say how to get another', async () => {
    const link = t.session.newLink(t.server.origin)
    await t.page.goto(link)
    await t.state('live')
    const other = await t.browser.newContext()
    const stranger = await other.newPage()
    await stranger.goto(link)
    await stranger.getByRole('heading', { name: 'This link has already been used' }).waitFor()
    expect(await stranger.locator('.command code').first().innerText()).toContain(
      `curl -X POST ${t.server.origin}/api/sessions/${t.session.id}/token`,
    )
    expect(await stranger.locator('#pill-text').innerText()).toBe('link already used')
    await other.close()
    await t.page.keyboard.type('on')
    await until('the first goes on', () => t.input === 'on')
  })

  test('work under the path of a proxy', async () => {
    const link = t.session.newLink(`${t.server.origin}/tools/cli`)
    await t.page.goto(link)
    await t.state('live')
    await t.page.reload()
    await t.state('live')
    expect(t.page.url()).toBe(`${t.server.origin}/tools/cli/ws/${t.session.id}`)
    expect(await t.page.locator('#log-menu code').textContent()).toContain(`${t.server.origin}/tools/cli/api/sessions/`)
    expect(t.faults).toEqual([])
  })

  test('work over plain http from another machine, where browsers offer fewer features', async () => {
    const origin = t.server.origin.replace('127.0.0.1', ELSEWHERE)
    await t.page.goto(t.session.newLink(origin))
    await t.state('live')
    expect(await t.page.evaluate(() => isSecureContext)).toBe(false)
    await t.page.keyboard.type('typed')
    await until('it arrives', () => t.input === 'typed')
    await t.page.reload()
    await t.state('live')
    expect(t.faults).toEqual([])
  })

  test('that a browser has used let the same browser in again', async () => {
    const link = t.session.newLink(t.server.origin)
    await t.page.goto(link)
    await t.state('live')
    await t.page.goto(link)
    await t.state('live')
    expect(await t.pill()).toBe('live')
  })

  test.each([
    ['expired', (id: string) => `/ws/${id}?token=none`],
    ['no access', (id: string) => `/ws/${id}`],
    ['no such session', () => '/ws/00000000-0000-4000-8000-000000000000?token=x'],
  ])('that cannot be used say why: %s', async (word, address) => {
    t.session.tokens.clear()
    await t.page.goto(t.server.origin + address(t.session.id))
    await t.state('stopped')
    expect(await t.pill()).toBe(word)
    expect(t.faults).toEqual([])
  })

  test('are never read as HTML or as a command', async () => {
    const attack = '<img src=x onerror=alert(1)>'
    await t.page.goto(`${t.server.origin}/ws/${t.session.id}?token=${encodeURIComponent(attack)}&command=id`)
    await t.state('stopped')
    expect(await t.page.locator('img').count()).toBe(0)
    expect(await t.page.content()).not.toContain('onerror')
    await t.page.goto(`${t.server.origin}/ws/$(id)`)
    await t.state('stopped')
    expect(await t.page.content()).not.toContain('$(id)')
    expect(t.faults).toEqual([])
  })
})

describePage('a page that waits', (t) => {
  test('names each stage with its seconds until the first byte', async () => {
    t.session.waiting = true
    const now = Date.now()
    const ago = (seconds: number): string => new Date(now - seconds * 1000).toISOString()
    t.session.setStatus({ status: 'queued', stage: 'queued', since: ago(30) })
    await t.page.goto(t.session.newLink(t.server.origin))
    await t.state('waiting')
    t.session.setStatus({ status: 'starting', stage: 'fetching_code', since: ago(12) })
    t.session.setStatus({ status: 'starting', stage: 'installing', since: ago(5) })
    await until('the stage', async () => /installing · \d+ s/.test(await t.pill()))
    expect(await t.page.locator('#overlay .stage').allInnerTexts()).toEqual([
      expect.stringMatching(/Waiting in the queue\s+18\.0 s/),
      expect.stringMatching(/Fetching code\s+7\.0 s/),
      expect.stringMatching(/Installing\s+\d+ s/),
    ])
    t.session.open()
    t.session.print('first byte')
    await t.page.locator('#overlay').waitFor({ state: 'hidden' })
  })

  test('names the reason for the wait as soon as it is known, also in the middle of a stage', async () => {
    t.session.waiting = true
    const pulling = { status: 'starting', stage: 'pulling_image', since: new Date().toISOString() } as const
    t.session.setStatus(pulling)
    await t.page.goto(t.session.newLink(t.server.origin))
    await t.state('waiting')
    const hint = t.page.locator('#overlay').getByText('cannot be pulled')
    expect(await hint.count()).toBe(0)
    t.session.setStatus({ ...pulling, reason: 'image_pull', hint: 'The image a:1 cannot be pulled yet.' })
    await hint.waitFor()
    t.session.setStatus({ ...pulling, reason: null, hint: null })
    await hint.waitFor({ state: 'detached' })
  })
})

describePage('a view-only page', (t) => {
  test('sends no key, paste, drop, mouse report, size or answer', async () => {
    await t.openLive('ro')
    await t.drawn('mouse on', '\x1b[?1000h\x1b[?1006h\x1b[?1004h\x1b[?2004h')
    expect(await t.page.locator('#view-only').isVisible()).toBe(true)
    await t.page.keyboard.type('rm -rf')
    await t.page.keyboard.press('Control+c')
    await t.paste('pasted')
    await t.page.mouse.click(200, 200)
    await t.page.mouse.wheel(0, 300)
    await t.page.setViewportSize({ width: 600, height: 400 })
    t.session.print(`\x1b[6n\x1b[c\x1b]52;c;${Buffer.from('x').toString('base64')}\x07`)
    await t.page.waitForTimeout(800)
    expect(t.input).toBe('')
    expect(t.session.resizes).toEqual([])
    expect(await t.page.locator('.toast').count()).toBe(0)
  })

  test('shrinks a session larger than its window to fit', async () => {
    t.session.follows = false
    t.session.size = { columns: 140, rows: 33 }
    await t.openLive('ro')
    await t.page.locator('#size-note', { hasText: '140 columns × 33 rows' }).waitFor()
    const screen = await t.page.locator('.xterm-screen').boundingBox()
    expect(screen?.width).toBeLessThanOrEqual(900)
    expect(screen?.height).toBeLessThanOrEqual(520)
    expect(screen?.width).toBeGreaterThan(600)
  })
})

describePage('a page of an ended session', (t) => {
  test.each([
    ['succeeded', 0, '✓', 'Finished'],
    ['failed', 3, '✗', 'Failed'],
  ] as const)(
    'keeps screen, code and duration, even after a reload: %s with %i',
    async (status, exitCode, sign, word) => {
      await t.openLive()
      await t.drawn('last words')
      t.session.end({ status, exitCode, reason: exitCode === 0 ? null : 'exit_nonzero', durationMs: 61_000 })
      for (let visit = 0; visit < 2; visit++) {
        await t.state('ended')
        expect(await t.pill()).toBe(`ended · exit code ${exitCode}`)
        expect(await t.page.locator('#end').innerText()).toMatch(
          new RegExp(`${word}[^]*exit code ${exitCode}[^]*1 min 01 s`),
        )
        expect(await t.page.title()).toMatch(new RegExp(`^${sign} ${t.session.id.slice(0, 8)} · CLI Scale$`))
        const icon = await t.page.locator('link[rel="icon"]').getAttribute('href')
        expect(icon).toContain(exitCode === 0 ? 'ended' : 'failed')
        expect(await t.savedOutput()).toBe('last words\n')
        if (visit === 0) await t.page.reload()
      }
      const attempts = t.session.hellos.length
      await t.page.waitForTimeout(1500)
      expect(t.session.hellos).toHaveLength(attempts)
      expect(t.faults).toEqual([])
    },
  )

  test('shows a stop as neither success nor failure', async () => {
    await t.openLive()
    t.session.end({ status: 'stopped', reason: 'stopped_by_user', exitCode: 143, detail: 'It was stopped.' })
    await t.state('ended')
    expect(await t.pill()).toBe('ended · stopped')
    expect(await t.page.locator('#end .end-text').innerText()).toMatch(/^Stopped on request\s+·?\s*ran for 4\.3 s$/)
    expect(await t.page.locator('#end .mark.neutral').innerText()).toBe('■')
    expect(await t.page.title()).toMatch(/^■ /)
    expect(await t.page.locator('link[rel="icon"]').getAttribute('href')).toContain('stopped')
  })

  test('shows the last line above its panel', async () => {
    await t.withoutWebgl()
    t.session.print(Array.from({ length: 200 }, (_, line) => `line ${line}\r\n`).join('') + 'the very last')
    await t.openLive()
    t.session.end({ status: 'failed', signal: 'SIGKILL', reason: 'oom_killed' })
    await t.state('ended')
    await until('the last line', async () => (await t.rows()).includes('the very last'))
    const last = await t.page.locator('.xterm-rows > div', { hasText: 'the very last' }).boundingBox()
    const panel = await t.page.locator('#end').boundingBox()
    expect((last?.y ?? 0) + (last?.height ?? 0)).toBeLessThanOrEqual(panel?.y ?? 0)
  })

  test.each([
    ['with mouse reports on', ''],
    ['within a sequence', '\x1b]0;half a tit'],
  ])('of a program that died %s can be scrolled and selected in', async (_, rest) => {
    await t.withoutWebgl()
    const lines = Array.from({ length: 200 }, (__, line) => `line ${line}\r\n`).join('')
    t.session.print(`\x1b[?1003h\x1b[?1006h\x1b[?1004h\x1b[?2004h${lines}${rest}`)
    await t.openLive()
    t.session.end({ status: 'failed', signal: 'SIGKILL', reason: 'killed_by_signal' })
    for (let visit = 0; visit < 2; visit++) {
      await t.state('ended')
      await until('the last line', async () => (await t.rows()).includes('line 199'))
      const reports = t.input
      await t.page.mouse.move(40, 100)
      await t.page.mouse.wheel(0, -600)
      await until('older lines', async () => !(await t.rows()).includes('line 199'))
      await t.page.mouse.down()
      await t.page.mouse.move(200, 180, { steps: 4 })
      await t.page.mouse.up()
      await t.page.locator('.xterm-selection div').first().waitFor({ state: 'attached' })
      expect(t.input).toBe(reports)
      if (visit === 0) await t.page.reload()
    }
  })

  test('keeps the last picture of a full-screen program that died, and the wheel types nothing into it', async () => {
    await t.withoutWebgl()
    t.session.print('before\r\n\x1b[?1049h\x1b[?1h\x1b[?1003h\x1b[?1006h\x1b[2J\x1b[Hlast picture')
    await t.openLive()
    t.session.end({ status: 'failed', signal: 'SIGKILL', reason: 'killed_by_signal' })
    await t.state('ended')
    await until('the picture', async () => (await t.rows()).includes('last picture'))
    const typed = t.input
    await t.page.mouse.move(40, 100)
    await t.page.mouse.wheel(0, -600)
    await t.page.waitForTimeout(200)
    expect(await t.rows()).toContain('last picture')
    expect(t.input).toBe(typed)
  })

  test('shows what a server says as text, never as HTML', async () => {
    await t.openLive()
    t.session.end({ status: 'failed', detail: '<img src=x onerror=alert(1)>', hint: '<script>1</script>' })
    await t.state('ended')
    expect(await t.page.locator('#end').innerText()).toContain('<img src=x onerror=alert(1)>')
    expect(await t.page.locator('img').count()).toBe(0)
  })
})
