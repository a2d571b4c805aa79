/** Files of the page, which never change while their name lasts, packed beforehand by the build. */
import path from 'node:path'
import express, { type Request, type RequestHandler } from 'express'

/** What the build lays beside a file, the best first: the coding's name and the ending. */
const PACKED = [
  ['br', '.br'],
  ['gzip', '.gz'],
] as const
const PACKED_NAME = /\.(br|gz)$/

/**
 * Serves the files of a folder, as they lie there or packed: nothing is packed for a request. A file's packed form is a
 * representation of its own (another ETag, the same type), and has no ranges.
 */
export function staticFiles(dir: string): RequestHandler {
  const serve = express.static(dir, {
    index: false,
    redirect: false,
    acceptRanges: false,
    lastModified: false,
    setHeaders: (res, file) => {
      const ending = PACKED.find(([, each]) => file.endsWith(each))
      const name = ending === undefined ? file : file.slice(0, -ending[1].length)
      if (ending !== undefined) res.setHeader('Content-Encoding', ending[0])
      ;(res as express.Response).type(path.extname(name))
      const isHashed = /[.-][A-Za-z0-9_]{8,}\.[a-z0-9.]+$/.test(path.basename(name))
      res.setHeader('Cache-Control', isHashed ? 'public, max-age=31536000, immutable' : 'no-cache')
    },
  })
  return (req, res, next) => {
    const { url } = req
    const pathname = url.split('?', 1)[0]!
    if (PACKED_NAME.test(pathname)) return next()
    const packed = PACKED.filter(([coding]) => accepts(req, coding))
    const tryNext = (error?: unknown): void => {
      req.url = url
      if (error !== undefined) return next(error)
      const ending = packed.shift()?.[1]
      if (ending === undefined) return serve(req, res, next)
      req.url = pathname + ending
      serve(req, res, tryNext)
    }
    res.vary('Accept-Encoding')
    tryNext()
  }
}

/** Serves one file of a folder, whatever the path. */
export function staticFile(files: RequestHandler, name: string): RequestHandler {
  return (req, res, next) => {
    const { url } = req
    req.url = `/${name}`
    files(req, res, (error?: unknown) => {
      req.url = url
      next(error ?? new Error(`${name} is not among the page's files`))
    })
  }
}

function accepts(req: Request, coding: string): boolean {
  // `acceptsEncodings` takes a header that is not there for one that says "identity".
  return req.acceptsEncodings(coding) === coding
}
