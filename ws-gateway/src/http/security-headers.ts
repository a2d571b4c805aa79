import type { RequestHandler } from 'express'

/**
 * Content Security Policy of the terminal page: files of its own and nothing inline. xterm.js makes `<style>` elements
 * while it runs, which the page turns into constructed sheets (web/src/csp-shim.ts). `'self'` in connect-src takes in
 * the WebSocket of the same origin.
 */
export const PAGE_CSP = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "font-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "frame-ancestors 'none'",
  "base-uri 'none'",
  "form-action 'none'",
].join('; ')

const HEADERS = {
  'Content-Security-Policy': PAGE_CSP,
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Permissions-Policy': 'camera=(), microphone=(), geolocation=(), payment=(), usb=()',
} as const

/** Sets the security headers on every answer of the gateway. */
export const securityHeaders: RequestHandler = (_req, res, next) => {
  res.set(HEADERS)
  next()
}
