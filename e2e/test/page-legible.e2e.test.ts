import { expect, test } from '@jest/globals'
import axe from 'axe-core'
import { describePage } from '../src/page-fixture.ts'

describePage('a page that everyone can read', (t) => {
  const faults = async (): Promise<string[]> => {
    const { violations } = await t.page.evaluate(() =>
      (
        window as unknown as {
          axe: { run(): Promise<{ violations: { id: string; impact: string; nodes: { html: string }[] }[] }> }
        }
      ).axe.run(),
    )
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
  }

  test.each(['light', 'dark'] as const)('has no serious accessibility fault in any state, %s', async (colorScheme) => {
    await t.page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
    await t.withoutWebgl()
    t.session.waiting = true
    t.session.setStatus({ status: 'starting', stage: 'installing', hint: 'It takes a while.' })
    await t.page.goto(t.session.newLink(t.server.origin))
    await t.state('waiting')
    await t.page.evaluate(axe.source)
    expect(await faults()).toEqual([])
    t.session.open()
    t.session.setStatus({ status: 'running', stage: 'running' })
    await t.state('live')
    await t.drawn('ready')
    for (const id of ['pill', 'open-log', 'open-settings']) {
      await t.page.locator(`#${id}`).click()
      expect(await faults()).toEqual([])
      await t.page.keyboard.press('Escape')
    }
    await t.page.locator('#open-search').click()
    await t.page.keyboard.type('ready')
    await t.page.locator('#search-regex').click()
    expect(await faults()).toEqual([])
    await t.page.locator('#search-close').click()
    t.session.end({ status: 'failed', reason: 'install_failed', exitCode: 1 })
    await t.state('ended')
    expect(await faults()).toEqual([])
    await t.page.goto(`${t.server.origin}/ws/${t.server.createSession().id}`)
    await t.state('stopped')
    await t.page.evaluate(axe.source)
    expect(await faults()).toEqual([])
    await t.page.goto(`${t.server.origin}/`)
    await t.page.evaluate(axe.source)
    expect(await faults()).toEqual([])
    expect(await t.page.locator('[data-base]').innerText()).toBe(t.server.origin)
    expect(t.faults).toEqual([])
  })

  test.each(['light', 'dark'] as const)(
    'shows how a session is or ended with a contrast of 4.5, %s',
    async (scheme) => {
      await t.page.emulateMedia({ colorScheme: scheme })
      await t.openLive()
      const contrasts = await t.page.evaluate(() => {
        const context = document.createElement('canvas').getContext('2d')
        const pill = document.getElementById('pill')
        const bar = pill?.closest('header')
        if (!context || !pill || !bar) return {}
        // Any colour that CSS can name, over what was painted before.
        const paint = (css: string): number[] => {
          context.fillStyle = css
          context.fillRect(0, 0, 1, 1)
          return Array.from(context.getImageData(0, 0, 1, 1).data.slice(0, 3))
        }
        const luminance = (channels: number[]): number => {
          const [x, y, z] = channels.map((value) =>
            value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4,
          )
          return 0.2126 * (x ?? 0) + 0.7152 * (y ?? 0) + 0.0722 * (z ?? 0)
        }
        const of = (tone: string): [string, number] => {
          pill.dataset['tone'] = tone
          const { color, backgroundColor } = getComputedStyle(pill)
          paint(getComputedStyle(bar).backgroundColor)
          const ground = luminance(paint(backgroundColor))
          const [a, b] = [ground, luminance(paint(color))].sort((p, q) => q - p) as [number, number]
          return [tone, (a + 0.05) / (b + 0.05)]
        }
        return Object.fromEntries(['busy', 'live', 'good', 'bad', 'warn', 'off'].map(of))
      })
      expect(Object.keys(contrasts)).toHaveLength(6)
      expect(Object.entries(contrasts).filter(([, contrast]) => contrast < 4.5)).toEqual([])
    },
  )

  test.each(['light', 'dark'] as const)(
    'shows every colour of a program with a contrast of 4.5, dim ones too, %s',
    async (scheme) => {
      await t.page.emulateMedia({ colorScheme: scheme })
      await t.withoutWebgl()
      await t.openLive()
      const codes = [39, ...Array.from({ length: 16 }, (_, i) => (i < 8 ? 30 + i : 82 + i))]
      const styles = codes.flatMap((code) => [`\x1b[0;${code}m`, `\x1b[0;2;${code}m`])
      const mixed = ['\x1b[0;2;38;2;120;120;120m', '\x1b[0;2;38;5;244m', '\x1b[0;2;33;47m', '\x1b[0;2;7m']
      const afterLines = ['\x1b[0;2m── ', '\x1b[0;33m│ ', '\x1b[0;2;90m▌']
      await t.drawn(
        'end',
        `${[...styles, ...mixed, ...afterLines].map((style) => `${style}text`).join(' ')}\x1b[0m\r\n`,
      )
      const contrasts = await t.page.evaluate(() => {
        const channels = (css: string): number[] => (css.match(/[\d.]+/g) ?? []).map(Number)
        const luminance = ([r = 0, g = 0, b = 0]: number[]): number => {
          const [x, y, z] = [r, g, b].map((value) =>
            value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4,
          )
          return 0.2126 * (x ?? 0) + 0.7152 * (y ?? 0) + 0.0722 * (z ?? 0)
        }
        const page = channels(getComputedStyle(document.body).backgroundColor)
        return [...document.querySelectorAll<HTMLElement>('.xterm-rows span')]
          .filter((span) => span.textContent?.includes('text'))
          .map((span) => {
            const style = getComputedStyle(span)
            const own = channels(style.backgroundColor)
            const ground = own[3] === 0 ? page : own
            const ink = channels(style.color)
            const alpha = ink[3] ?? 1
            const seen = ink.slice(0, 3).map((value, i) => value * alpha + (ground[i] ?? 0) * (1 - alpha))
            const [a, b] = [luminance(seen), luminance(ground)].sort((x, y) => y - x) as [number, number]
            return Math.round(((a + 0.05) / (b + 0.05)) * 100) / 100
          })
      })
      expect(contrasts.length).toBeGreaterThan(30)
      expect(contrasts.filter((contrast) => contrast < 4.5)).toEqual([])
    },
  )
})
