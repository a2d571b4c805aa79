import './styles.css'
import { newLinkCommand, readAddress } from './address.ts'
import { Page } from './page.ts'
import { allowTerminalStyles } from './csp-shim.ts'

// First of all, and before any request: the token leaves the address bar, the history and what a Referer could say.
const address = readAddress(location)
history.replaceState(null, '', address.cleanPath)
allowTerminalStyles(document)
new Page({
  sessionId: address.sessionId,
  token: address.token,
  sessionPath: address.cleanPath.replace(/\/$/, ''),
  newLink: address.sessionId === undefined ? '' : newLinkCommand(location.origin, address.sessionId),
}).start()
