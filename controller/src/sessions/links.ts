/** The two addresses of a terminal: the page, and its WebSocket. `origin` is ours, such as `https://cliscale.example`. */
export function terminalLinks(
  origin: string,
  sessionId: string,
  token: string,
): { terminalUrl: string; wsUrl: string } {
  const terminalUrl = `${origin}/ws/${sessionId}?token=${encodeURIComponent(token)}`
  return { terminalUrl, wsUrl: terminalUrl.replace(/^http/, 'ws') }
}
