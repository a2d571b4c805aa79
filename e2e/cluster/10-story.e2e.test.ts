import { execFile } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import type { Browser, Page } from 'playwright-core'
import { findChromium, launchChromium } from '../src/chromium.ts'
import { apiKey, kubectl, openApi, ROOT, state, untilStatus } from '../src/cluster.ts'
import type { Api, Created } from '../src/system.ts'

/** Pictures of each state, for a person to look at. */
const PICTURES = path.join(ROOT, '.cache/screenshots')
const run = promisify(execFile)

const executablePath = findChromium()
if (executablePath === undefined || state.clusterFolder === null) {
  test('the story on a cluster is not run: it needs Chromium and the simulated internet', () =>
    expect(executablePath === undefined || state.clusterFolder === null).toBe(true))
} else {
  let browser: Browser
  let api: Api
  beforeAll(async () => {
    await mkdir(PICTURES, { recursive: true })
    browser = await launchChromium(executablePath)
    api = await openApi()
  })
  afterAll(() => browser.close())

  const post = async (request: object): Promise<Created> => {
    const authorization = `Authorization: Bearer ${await apiKey()}`
    const headers = ['-H', authorization, '-H', 'Content-Type: application/json']
    const url = `${state.address}/api/sessions`
    const body = JSON.stringify(request)
    const { stdout } = await run('curl', ['-sS', '--fail-with-body', '-X', 'POST', url, ...headers, '-d', body])
    return JSON.parse(stdout) as Created
  }
  const open = async (link: string): Promise<Page> => {
    const context = await browser.newContext({ viewport: { width: 1100, height: 700 } })
    const page = await context.newPage()
    page.setDefaultTimeout(40_000)
    await page.goto(link)
    return page
  }
  const picture = (page: Page, name: string) => page.screenshot({ path: path.join(PICTURES, `cluster-${name}.png`) })
  const isState = (page: Page, kind: string) => page.waitForSelector(`body[data-state="${kind}"]`)

  test('a tree URL posted through the Ingress waits for a machine, says so, goes live and ends with 0', async () => {
    const node = (await kubectl('get', 'nodes', '-o', 'name')).trim().split('\n')[0] ?? ''
    await kubectl('cordon', node)
    let page: Page
    let session: Created
    try {
      session = await post({
        code_url: 'https://github.com/example/cliscale/tree/main/sample-cli',
        command: 'node index.js run',
        prompt: 'Say hello from a cluster',
        env: { npm_config_registry: 'https://code.example', npm_config_audit: 'false' },
      })
      expect(session.terminalUrl.startsWith(`${state.address}/ws/`)).toBe(true)
      page = await open(session.terminalUrl)
      await isState(page, 'waiting')
      await page
        .getByText(/unschedulable|no machine|not be placed|node\(s\)/i)
        .first()
        .waitFor()
      expect((await api.get(session.sessionId)).reason).toBe('unschedulable')
      await picture(page, 'scheduling')
    } finally {
      await kubectl('uncordon', node)
    }
    await isState(page, 'live')
    await page.waitForTimeout(4_000)
    await picture(page, 'live')
    await page.waitForSelector('body[data-state="ended"]', { timeout: 60_000 })
    await picture(page, 'ended')
    expect(await page.locator('#pill-text').innerText()).toBe('ended · exit code 0')
    const ended = await api.ended(session.sessionId)
    expect(ended).toMatchObject({ status: 'succeeded', reason: null, exitCode: 0 })
    expect((await api.get(session.sessionId)).stages.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['queued', 'scheduling', 'fetching_code', 'installing', 'running']),
    )
    await page.reload()
    await isState(page, 'ended')
    await page.context().close()
  })

  test('a session whose image cannot be pulled says so while it waits', async () => {
    const session = await post({ command: 'echo never', image: 'missing' })
    const page = await open(session.terminalUrl)
    await page
      .getByText(/no-such-image/)
      .first()
      .waitFor()
    await picture(page, 'pulling')
    const waiting = await untilStatus(api, session.sessionId, ['starting', 'scheduling'])
    expect(waiting).toMatchObject({ reason: 'image_pull', detail: expect.stringContaining('no-such-image') })
    await api.stop(session.sessionId)
    await isState(page, 'ended')
    await picture(page, 'stopped')
    expect(await api.ended(session.sessionId)).toMatchObject({ status: 'stopped', reason: 'stopped_by_user' })
    await page.context().close()
  })
}
