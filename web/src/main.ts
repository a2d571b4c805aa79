import './styles.css'
import { newLinkCommand, readAddress } from './address.ts'
import { Page } from './page.ts'
import { allowTerminalStyles } from './csp-shim.ts'

// While gateways are replaced, one of another build may have been asked for our style sheet. Once, and with the token
// still in the address.
const hasStyle = getComputedStyle(document.documentElement).getPropertyValue('--ground') !== ''
const [navigation] = performance.getEntriesByType('navigation') as PerformanceNavigationTiming[]
if (hasStyle || navigation?.type === 'reload') start()
else setTimeout(() => location.reload(), 1_000)

function start(): void {
  // First of all, and before any request: the token leaves the address bar, the history and what a Referer could say.
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
