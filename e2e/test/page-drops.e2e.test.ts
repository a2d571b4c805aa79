import { expect, test } from '@jest/globals'
import { describePage } from '../src/page-fixture.ts'
import { until } from '../src/system.ts'

describePage('a page whose connection drops', (t) => {
  test('shows each of many numbered lines once over ten cuts, and never a blank screen', async () => {
    await t.withoutWebgl()
    await t.openLive()
    t.session.print('line 0\r\n')
    await until('the first line', async () => (await t.rows()).includes('line 0'))
    await t.page.evaluate(() => {
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
      t.session.print(`line ${line}\r\n`)
      if (line % 60 === 0) t.session.cut()
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    await until('the last line', async () => (await t.savedOutput()).includes('line 600'), 15_000)
    const lines = (await t.savedOutput()).trimEnd().split('\n')
    expect(lines).toEqual(Array.from({ length: 601 }, (_, line) => `line ${line}`))
    expect(t.session.hellos.length).toBeGreaterThan(3)
    expect(t.session.hellos.slice(1).every(({ epoch, have }) => epoch === t.session.epoch && (have ?? 0) > 0)).toBe(
      true,
    )
    expect(await t.page.evaluate(() => (window as unknown as { blank: number }).blank)).toBe(0)
  })

  test('says and counts that a gateway restarts, and reconnects at once when the network is back', async () => {
    await t.openLive()
    t.server.refuseUpgrades = true
    t.session.close(1012)
    await t.state('reconnecting')
    await until('a longer wait', async () => /reconnecting in [3-9] s/.test(await t.pill()), 20_000)
    expect(await t.page.locator('#reconnect').isVisible()).toBe(true)
    t.server.refuseUpgrades = false
    await t.page.evaluate(() => window.dispatchEvent(new Event('online')))
    await t.state('live')
    expect(t.faults).toEqual([])
  })

  test('keeps what is typed while it is down, can discard it, and sends it once', async () => {
    await t.openLive()
    t.server.refuseUpgrades = true
    t.session.cut()
    await t.state('reconnecting')
    await t.page.keyboard.type('rm')
    await t.page.locator('#typing-note', { hasText: '2 typed bytes, waiting for the connection' }).waitFor()
    await t.page.locator('#typing-cancel').click()
    await t.page.locator('#typing-note').waitFor({ state: 'hidden' })
    await t.page.locator('.xterm-helper-textarea').focus()
    await t.page.keyboard.type('ls')
    t.server.refuseUpgrades = false
    // The page reconnects by itself.
    await t.state('live')
    await until('what was typed', () => t.input !== '')
    expect(t.input).toBe('ls')
  })

  test('replaces the screen for another epoch or a snapshot', async () => {
    await t.openLive()
    await t.drawn('old screen')
    t.session.epoch = 'another'
    t.session.output = Buffer.from('gone\r\nsnapshot text')
    t.session.snapshotFrom = 6
    t.session.cut()
    await until('the snapshot', async () => (await t.savedOutput()) === 'snapshot text\n')
    t.session.print(' and more')
    await until('what follows', async () => (await t.savedOutput()) === 'snapshot text and more\n')
    t.session.cut()
    await until('a resume behind it', () => t.session.hellos.length === 3)
    expect(t.session.hellos[2]?.have).toBe(t.session.output.length)
  })

  test('falls back to xterm.js’s own renderer at once when it loses its WebGL context', async () => {
    await t.page.addInitScript(() => {
      // oxlint-disable-next-line typescript/unbound-method -- called with its canvas below
      const getContext = HTMLCanvasElement.prototype.getContext
      const kept: WebGL2RenderingContext[] = []
      ;(window as unknown as { kept: unknown }).kept = kept
      HTMLCanvasElement.prototype.getContext = function (this: HTMLCanvasElement, kind: string, ...rest: unknown[]) {
        const result: unknown = Reflect.apply(getContext, this, [kind, ...rest])
        if (kind === 'webgl2' && result !== null) kept.push(result as WebGL2RenderingContext)
        return result
      } as typeof getContext
    })
    await t.openLive()
    await t.drawn('still here')
    await t.page.evaluate(() => {
      for (const context of (window as unknown as { kept: WebGL2RenderingContext[] }).kept) {
        context.getExtension('WEBGL_lose_context')?.loseContext()
      }
    })
    await t.page.waitForSelector('#terminal[data-renderer="dom"]', { timeout: 1_000 })
    await until('text', async () => (await t.rows()).includes('still here'))
    expect(t.faults).toEqual([])
  })

  test('a pixel ratio that the browser only claims falls back too, and text is drawn; a true one does not', async () => {
    for (const [deviceScaleFactor, renderer] of [
      [2, 'dom'],
      [1, 'webgl'],
    ] as const) {
      const context = await t.browser.newContext({ deviceScaleFactor })
      const page = await context.newPage()
      await page.goto(t.session.newLink(t.server.origin))
      await page.waitForSelector('body[data-state="live"]')
      t.session.print('is drawn ')
      await page.waitForTimeout(500)
      expect(await page.locator('#terminal').getAttribute('data-renderer')).toBe(renderer)
      if (renderer === 'dom') expect(await page.locator('.xterm-rows').innerText()).toContain('is drawn')
      await context.close()
    }
  })

  test('survives a flood of 10 s: memory stays bounded, acknowledgements go on, and keys arrive', async () => {
    t.session.flood = Buffer.from('y\r\n'.repeat(40_000))
    await t.openLive()
    const cdp = await t.context.newCDPSession(t.page)
    const heapMiB = async (): Promise<number> => {
      await cdp.send('HeapProfiler.collectGarbage')
      const { usedSize } = await cdp.send('Runtime.getHeapUsage')
      return usedSize / 2 ** 20
    }
    await t.page.waitForTimeout(2_000)
    const heapBefore = await heapMiB()
    const [sentBefore, acksBefore] = [t.session.floodSent, t.session.acks.length]
    const echoes: number[] = []
    for (let second = 0; second < 10; second++) {
      const before = t.input.length
      const typedAt = Date.now()
      await t.page.keyboard.press('a')
      await until('the key', () => t.input.length > before)
      echoes.push(Date.now() - typedAt)
      await t.page.waitForTimeout(1_000)
    }
    const mib = (t.session.floodSent - sentBefore) / 2 ** 20
    const heapAfter = await heapMiB()
    const slowest = Math.max(...echoes)
    process.stdout.write(
      `flood: ${mib.toFixed(0)} MiB in about 10 s, heap ${heapBefore.toFixed(0)} → ${heapAfter.toFixed(0)} MiB, slowest key ${slowest} ms\n`,
    )
    // How much depends on the machine (27 MiB on an idle one); that acknowledgements continue does not.
    expect(mib).toBeGreaterThan(1)
    expect(t.session.acks.length - acksBefore).toBeGreaterThan(10)
    expect(heapAfter).toBeLessThan(150)
    expect(heapAfter - heapBefore).toBeLessThan(20)
    expect(t.faults).toEqual([])
  }, 60_000)
})
