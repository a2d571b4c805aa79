import type { Request, Response } from 'express'

/** How long a reader may take nothing of a log before it is given up. */
const STALLED_MS = 120_000

/**
 * Sends output as it is, byte for byte, at the reader's pace. When it breaks off after the first byte the connection is
 * destroyed, so that the reader sees that something is missing.
 */
export async function sendLog(req: Request, res: Response, output: AsyncIterable<Buffer>): Promise<void> {
  res.status(200).set('Content-Type', 'text/plain; charset=utf-8')
  if (req.method === 'HEAD') return void res.end()
  for await (const bytes of output) {
    if (res.destroyed) return
    if (!res.write(bytes)) await drained(res)
  }
  res.end()
}

/** Resolves when the response takes more, or has been closed. */
function drained(res: Response): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => res.destroy(), STALLED_MS)
    const done = (): void => {
      clearTimeout(timer)
      res.off('drain', done).off('close', done)
      resolve()
    }
    res.on('drain', done).on('close', done)
    // It may have been closed before we listened.
    if (res.destroyed) done()
  })
}
