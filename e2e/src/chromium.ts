import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
/** A name for this machine that the browser trusts no more than another machine's: no secure context by plain http. */
export const ELSEWHERE = 'elsewhere.test'
const ARGS = [
  `--host-resolver-rules=MAP ${ELSEWHERE} 127.0.0.1`,
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** The Chromium of this machine (`CHROMIUM_BIN`, else the usual places); undefined when there is none. */
export function findChromium(): string | undefined {
  return [process.env['CHROMIUM_BIN'], ...PLACES].find((file) => file !== undefined && existsSync(file))
}

/** Starts it without a window. The caller closes it. */
export function launchChromium(executablePath: string): Promise<Browser> {
  return chromium.launch({ executablePath, args: ARGS, headless: true })
}
