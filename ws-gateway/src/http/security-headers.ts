import type { RequestHandler } from 'express'

/**
 * Content Security Policy of the terminal page: files of its own and nothing inline. xterm.js makes `<style>` elements
 * while it runs, which the page turns into constructed sheets (web/src/csp-shim.ts). `'self'` in connect-src takes in
 * the WebSocket of the same origin.
 */
export const PAGE_CSP = pageCsp([])

function pageCsp(frameAncestors: readonly string[]): string {
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "font-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    `frame-ancestors ${frameAncestors.length === 0 ? "'none'" : frameAncestors.join(' ')}`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ')
}

const HEADERS = {
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Permissions-Policy': 'camera=(), microphone=(), geolocation=(), payment=(), usb=()',
} as const

/** Sets the security headers on every answer of the gateway. `frameAncestors`: origins that may frame its pages. */
export function securityHeaders(frameAncestors: readonly string[]): RequestHandler {
  const headers = {
    ...HEADERS,
    'Content-Security-Policy': pageCsp(frameAncestors),
    // The older header knows no list; browsers that know frame-ancestors take no notice of it.
    ...(frameAncestors.length === 0 && { 'X-Frame-Options': 'DENY' }),
  }
  return (_req, res, next) => {
    res.set(headers)
    next()
  }
}
