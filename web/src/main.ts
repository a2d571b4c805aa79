import './styles.css'
import { newLinkCommand, readAddress } from './address.ts'
import { Page } from './page.ts'
import { allowTerminalStyles } from './csp-shim.ts'

// During a rollout, a gateway of another build may have answered the request for our style sheet. The page then reloads,
// once, with the token still in its address.
const hasStyle = getComputedStyle(document.documentElement).getPropertyValue('--ground') !== ''
const [navigation] = performance.getEntriesByType('navigation') as PerformanceNavigationTiming[]
if (hasStyle || navigation?.type === 'reload') start()
else setTimeout(() => location.reload(), 1_000)

function start(): void {
  // First, before any request: this takes the token out of the address bar, the history and any Referer.
  const address = readAddress(location)
  history.replaceState(null, '', address.cleanPath)
  allowTerminalStyles(document)
  const base = location.origin + address.base
  new Page({
    sessionId: address.sessionId,
    token: address.token,
    base,
    sessionPath: address.cleanPath.replace(/\/$/, ''),
    newLink: address.sessionId === undefined ? '' : newLinkCommand(base, address.sessionId),
  }).start()
}
