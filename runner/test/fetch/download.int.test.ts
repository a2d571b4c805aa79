import { createHash, randomBytes } from 'node:crypto'
import type http from 'node:http'
import https from 'node:https'
import net, { type AddressInfo } from 'node:net'
import zlib from 'node:zlib'
import { describe, expect, test } from '@jest/globals'
import type { FetchPolicy } from '@cliscale/contract'
import { tarGz, zip } from './archive-builders.ts'
import { createCertificate } from './certificate.ts'
import { fetchBytes, type FetchTestOptions, type Outcome, runFetch, startServer } from './servers.ts'

const archive = tarGz([{ name: 'a', data: '1' }])
const sha256 = createHash('sha256').update(archive).digest('hex')

function unsafe(...ports: number[]): { policy: Partial<FetchPolicy> } {
  return { policy: { unsafeHosts: ports.map((port) => `127.0.0.1:${port}`) } }
}

describe('the checksum', () => {
  test('is of the bytes as they arrived, in upper or lower case', async () => {
    expect((await fetchBytes(archive, { checksum: sha256.toUpperCase() })).tree).toEqual({ a: '1' })
  })

  test('may follow "#" in the URL', async () => {
    expect((await fetchBytes(archive, { path: `/a.tgz#sha256=${sha256.toUpperCase()}` })).tree).toEqual({ a: '1' })
    const both = await fetchBytes(archive, { path: `/a.tgz#sha256=${sha256}`, checksum: sha256 })
    expect(both.tree).toEqual({ a: '1' })
    const wrong = await fetchBytes(archive, { path: `/a.tgz#sha256=${'0'.repeat(64)}` })
    expect(wrong.failure?.reason).toBe('checksum_mismatch')
    const two = await fetchBytes(archive, { path: `/a.tgz#sha256=${'0'.repeat(64)}`, checksum: sha256 })
    expect(two.failure).toMatchObject({ reason: 'bad_code_url' })
    expect(two.failure?.detail).toContain('after "#"')
  })

  test('U29: that is wrong refuses the download with both values, before anything parses the bytes', async () => {
    const hostile = Buffer.from('not an archive at all')
    const { failure, tree, beside } = await fetchBytes(hostile, { checksum: sha256 })
    expect(failure?.reason).toBe('checksum_mismatch')
    expect(failure?.detail).toContain(sha256)
    expect(failure?.detail).toContain(createHash('sha256').update(hostile).digest('hex'))
    expect(tree).toEqual({})
    expect(beside).toEqual(['workspace'])
  })

  test('T20: is refused for a repository, which is not a single file', async () => {
    const { failure } = await runFetch('https://example.com/r.git', { checksum: sha256 })
    expect(failure).toMatchObject({ reason: 'bad_code_url' })
    expect(failure?.detail).toContain('code_checksum_sha256')
  })
})

/** A server that sends an answer in one go and closes at once. */
async function closingServer(answer: Buffer): Promise<AsyncDisposable & { port: number }> {
  const server = net.createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.end(answer))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return { port, [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())) }
}

describe('a server that closes after its last byte, as those without keep-alive do', () => {
  const noise = randomBytes(600_000)
  const large = tarGz([{ name: 'a', data: noise.toString('base64') }])

  test.each([
    ['with a length', `Connection: close\r\nContent-Length: ${large.length}\r\n`],
    ['without a length', 'Connection: close\r\n'],
  ])('gives the whole of a large archive %s', async (_case, header) => {
    const answer = Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\n${header}\r\n`), large])
    for (let i = 0; i < 10; i += 1) {
      await using server = await closingServer(answer)
      const { failure, tree } = await runFetch(`http://127.0.0.1:${server.port}/a.tgz`, unsafe(server.port))
      expect(failure).toBeUndefined()
      expect(tree).toEqual({ a: noise.toString('base64') })
    }
  })

  test.each([
    ['404', '404 Not Found', /answered 404/],
    ['200 that is too large', '200 OK', /larger than 64 KiB/],
  ])('is distinguished from one that sends a long %s', async (_case, status, detail) => {
    const answer = Buffer.concat([Buffer.from(`HTTP/1.1 ${status}\r\nConnection: close\r\n\r\n`), large])
    await using server = await closingServer(answer)
    const { failure } = await runFetch(`http://127.0.0.1:${server.port}/a.tgz`, {
      ...unsafe(server.port),
      deps: { limits: { downloadBytes: 64 * 1024 } },
    })
    expect(failure?.detail).toMatch(detail)
  })
})

describe('an address', () => {
  test.each(['https://127.0.0.1/a.zip', 'https://[::ffff:a9fe:a9fe]/a.zip', 'https://metadata.google.internal/a.zip'])(
    'inside the network is refused before any lookup: %s',
    async (url) => {
      const names: string[] = []
      const resolve = async (name: string): Promise<[]> => {
        names.push(name)
        return []
      }
      expect((await runFetch(url, { deps: { resolve } })).failure?.reason).toBe('code_host_refused')
      expect(names).toEqual([])
    },
  )

  test.each([
    ['U18: one private address', ['169.254.169.254']],
    ['U19: a private one beside a public one', ['8.8.8.8', '127.0.0.1']],
    ['U19: a private IPv6 one beside a public one', ['8.8.8.8', 'fd00::1']],
    ['an IPv4 address wrapped in IPv6', ['::ffff:127.0.0.1']],
  ])('that a name resolves to is refused: %s', async (_case, addresses) => {
    await using trap = await startServer((_request, response) => void response.end())
    const { failure } = await runFetch(`https://169-254-169-254.example:${trap.port}/a.zip`, {
      deps: {
        resolve: async () => addresses.map((address) => ({ address, family: net.isIP(address) })),
      },
    })
    expect(failure?.reason).toBe('code_host_refused')
    expect(failure?.detail).toContain(addresses.at(-1))
    expect(trap.requests).toEqual([])
  })

  test('U20: that changes between two lookups is dialled as it was checked', async () => {
    await using server = await startServer((_request, response) => void response.end(archive))
    let lookups = 0
    const { failure, tree } = await runFetch(`http://rebind.example:${server.port}/a.tgz`, {
      policy: { unsafeHosts: [`rebind.example:${server.port}`] },
      deps: { resolve: async () => [{ address: ++lookups === 1 ? '127.0.0.1' : '192.0.2.1', family: 4 }] },
    })
    expect(failure).toBeUndefined()
    expect(tree).toEqual({ a: '1' })
    expect(lookups).toBe(1)
  })

  test('U20: is resolved and checked again at each redirect', async () => {
    let lookups = 0
    await using server = await startServer((_request, response) => {
      response.writeHead(302, { location: `https://rebind.example:${server.port + 1}/a.tgz` }).end()
    })
    const { failure } = await runFetch(`http://rebind.example:${server.port}/a.tgz`, {
      policy: { unsafeHosts: [`rebind.example:${server.port}`] },
      deps: { resolve: async () => [{ address: (lookups += 1) === 1 ? '127.0.0.1' : '10.0.0.1', family: 4 }] },
    })
    expect(lookups).toBe(2)
    expect(failure?.reason).toBe('code_host_refused')
    expect(failure?.detail).toContain('10.0.0.1')
  })

  test('that does not resolve is named', async () => {
    const { failure } = await runFetch('https://does-not-exist.invalid/a.zip')
    expect(failure?.reason).toBe('download_failed')
    expect(failure?.detail).toContain('does-not-exist.invalid')
  })
})

describe('F2: no spelling of an internal address is ever dialled', () => {
  // Every spelling that some resolver, URL parser or libc reads as 127.0.0.1 or another internal address.
  const hosts = [
    '127.0.0.1 127.0.0.1. 127.1 127.0.1 127.127.127.127 2130706433 0x7f000001 017700000001 0x7f.1 0177.0.0.1 0x7f.0x0.0x0.0x1',
    '127.0.0.1%2e %31%32%37.0.0.1 ①②⑦.⓪.⓪.① 127。0。0。1 0 0.0.0.0 00000000000 0x0 10.0.0.1 172.16.0.1 192.168.0.1',
    '169.254.169.254 0xa9fea9fe 2852039166 0251.0376.0251.0376 100.64.0.1 100.100.100.200 168.63.129.16 192.0.0.192',
    '198.18.0.1 224.0.0.1 255.255.255.255 [::1] [::] [0:0:0:0:0:0:0:1] [::127.0.0.1] [::ffff:127.0.0.1] [::ffff:7f00:1]',
    '[0:0:0:0:0:ffff:127.0.0.1] [::ffff:0:127.0.0.1] [64:ff9b::127.0.0.1] [64:ff9b:1::1] [2002:7f00:1::] [2001::1] [fe80::1]',
    '[fc00::1] [fd00:ec2::254] [ff02::1] [100::1] [2001:db8::1] localhost LOCALHOST localhost. app.localhost ⓛocalhost',
    'metadata metadata.google.internal METADATA.GOOGLE.INTERNAL. instance-data.ec2.internal kubernetes.default.svc',
    'kubernetes.default.svc.cluster.local printer.local',
  ]
    .join(' ')
    .split(' ')

  test.each([
    ['an archive', '/a.zip'],
    ['a repository', '/r.git'],
  ])('for %s', async (_kind, path) => {
    let connections = 0
    const server = net.createServer((socket) => {
      connections += 1
      socket.destroy()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const reasons: string[] = []
    for (const host of hosts) {
      const { failure } = await runFetch(`https://${host}:${port}${path}`)
      reasons.push(`${host} ${failure?.reason}`)
    }
    await new Promise((resolve) => server.close(resolve))
    expect(reasons.filter((line) => !/ (code_host_refused|bad_code_url)$/.test(line))).toEqual([])
    expect(connections).toBe(0)
  })

  test('for a repository whose name resolves to one', async () => {
    await using trap = await startServer((_request, response) => void response.end())
    const { failure } = await runFetch(`https://inside.example:${trap.port}/r.git`, {
      deps: { resolve: async () => [{ address: '127.0.0.1', family: 4 }] },
    })
    expect(failure?.reason).toBe('code_host_refused')
    expect(failure?.detail).toContain('127.0.0.1')
    expect(trap.requests).toEqual([])
  })
})

describe('a redirect', () => {
  test.each([
    ['U21: to the metadata address', 'http://169.254.169.254/latest/a.zip'],
    ['U21: to the metadata address by https', 'https://169.254.169.254/a.zip'],
    ['U21: to a file', 'file:///etc/passwd'],
    ['to a host with credentials', 'https://u:p@example.com/a.zip'],
    ['from a listed host to plain http elsewhere', 'http://example.com/a.zip'],
    ['to an internal name', 'https://kubernetes.default.svc/a.zip'],
  ])('is refused: %s', async (_case, location) => {
    await using server = await startServer((_request, response) => void response.writeHead(302, { location }).end())
    const { failure } = await runFetch(`${server.origin}/a.zip`, unsafe(server.port))
    expect(failure?.reason).toBe('code_host_refused')
    expect(failure?.detail).toContain('Redirect 1')
    expect(failure?.detail).not.toContain('u:p')
  })

  test('to another port of this machine is refused, and that port is not dialled', async () => {
    await using inner = await startServer((_request, response) => void response.end(archive))
    await using outer = await startServer((_request, response) => {
      response.writeHead(302, { location: `${inner.origin}/a.tgz` }).end()
    })
    expect((await runFetch(`${outer.origin}/a.tgz`, unsafe(outer.port))).failure?.reason).toBe('code_host_refused')
    expect(inner.requests).toEqual([])
  })

  test('is followed five times, but not six', async () => {
    await using server = await startServer((request, response) => {
      const left = Number.parseInt(request.url?.slice(1) ?? '', 10)
      if (left > 0) response.writeHead(302, { location: `/${left - 1}.tgz?sig=s3cr3t` }).end()
      else response.end(archive)
    })
    expect((await runFetch(`${server.origin}/5.tgz`, unsafe(server.port))).tree).toEqual({ a: '1' })
    const { failure } = await runFetch(`${server.origin}/6.tgz?sig=s3cr3t`, unsafe(server.port))
    expect(failure?.reason).toBe('download_failed')
    expect(failure?.detail).toMatch(/more than 5 times/)
    expect(failure?.detail).not.toContain('s3cr3t')
  })

  test('passes on no cookie and no credentials', async () => {
    await using server = await startServer((request, response) => {
      if (request.url === '/a.tgz')
        response.writeHead(302, { location: '/b.tgz', 'set-cookie': 'id=1', authorization: 'x' }).end()
      else response.end(archive)
    })
    await runFetch(`${server.origin}/a.tgz`, unsafe(server.port))
    expect(server.seen[1]?.headers).not.toHaveProperty('cookie')
    expect(server.seen[1]?.headers).not.toHaveProperty('authorization')
    expect(server.seen[1]?.headers).not.toHaveProperty('referer')
  })
})

describe('an answer', () => {
  test.each([
    [404, {}, 'download_failed', 'nothing at this address'],
    [401, {}, 'auth_required', 'private'],
    [403, {}, 'auth_required', 'signature'],
    [
      403,
      { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '2000000000' },
      'download_failed',
      '2033-05-18T03:33:20',
    ],
    [429, { 'retry-after': '60' }, 'download_failed', 'rate limit'],
    [500, {}, 'download_failed', 'answered 500'],
    [204, {}, 'download_failed', 'answered 204: there is nothing'],
    [202, {}, 'download_failed', 'still preparing'],
    [206, {}, 'download_failed', 'answered 206, only a part'],
    [304, {}, 'download_failed', 'not modified'],
    [301, {}, 'download_failed', 'answered 301'],
  ])('U30: with status %d %j is %s', async (status, headers, reason, words) => {
    await using server = await startServer((_request, response) => void response.writeHead(status, headers).end())
    const { failure, beside } = await runFetch(`${server.origin}/a.zip?sig=s3cr3t`, unsafe(server.port))
    expect(failure?.reason).toBe(reason)
    expect(failure?.detail).toContain(words)
    expect(failure?.detail).not.toContain('s3cr3t')
    expect(beside).toEqual(['workspace'])
  })

  test('U26: that is a page instead of an archive is refused with what arrived', async () => {
    const { failure } = await fetchBytes(Buffer.from('<!doctype html><title>Log in</title>'), {
      contentType: 'Text/HTML; charset=utf-8',
    })
    expect(failure?.reason).toBe('not_an_archive')
    expect(failure?.detail).toContain('got text/html')
  })

  test('that is empty is not an archive', async () => {
    expect((await fetchBytes(Buffer.alloc(0))).failure?.reason).toBe('not_an_archive')
  })

  test('U27: that never ends is cut off at the size limit', async () => {
    await using server = await startServer((_request, response) => {
      const pump = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(65536, 1)));
      }
      response.on('drain', pump)
      pump()
    })
    const { failure, beside } = await runFetch(`${server.origin}/a.zip`, {
      ...unsafe(server.port),
      deps: { limits: { downloadBytes: 1024 * 1024 } },
    })
    expect(failure?.reason).toBe('code_too_large')
    expect(failure?.detail).toContain('1 MiB')
    expect(beside).toEqual(['workspace'])
  })

  test('U27: that trickles is ended by the limit on speed', async () => {
    await using server = await startServer((_request, response) => {
      const timer = setInterval(() => response.write('x'), 10)
      response.on('close', () => clearInterval(timer))
    })
    const { failure } = await runFetch(`${server.origin}/a.zip`, {
      ...unsafe(server.port),
      deps: { limits: { stallMs: 200 } },
    })
    expect(failure?.reason).toBe('download_timeout')
    expect(failure?.detail).toMatch(/less than 64 KiB in 0\.2 s/)
  })

  test('U27: whose headers never arrive is ended', async () => {
    await using server = await startServer(() => {})
    const { failure } = await runFetch(`${server.origin}/a.zip`, {
      ...unsafe(server.port),
      deps: { limits: { headersMs: 1000 } },
    })
    expect(failure?.reason).toBe('download_timeout')
  })

  test('U27: that takes longer than the whole download may is ended', async () => {
    await using server = await startServer((_request, response) => {
      const timer = setInterval(() => response.write(Buffer.alloc(1000)), 10)
      response.on('close', () => clearInterval(timer))
    })
    const { failure } = await runFetch(`${server.origin}/a.zip`, {
      ...unsafe(server.port),
      deps: { limits: { totalMs: 300 } },
    })
    expect(failure?.reason).toBe('download_timeout')
    expect(failure?.detail).toContain('0.3 s')
  })

  test.each([
    ['U28: shorter than announced', `Content-Length: ${archive.length + 5}\r\n`],
    ['U28: whose length is not a number', 'Content-Length: -1\r\n'],
    ['U28: with two lengths', 'Content-Length: 3\r\nContent-Length: 4\r\n'],
  ])('that is %s is refused', async (_case, header) => {
    const server = net.createServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', () => {
        socket.write(`HTTP/1.1 200 OK\r\n${header}\r\n`)
        socket.end(archive)
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const { failure, tree } = await runFetch(`http://127.0.0.1:${port}/a.tgz`, unsafe(port))
    await new Promise((resolve) => server.close(resolve))
    expect(failure?.reason).toBe('download_failed')
    expect(tree).toEqual({})
  })

  test('U28: that is longer than announced is cut there, so that the archive is incomplete', async () => {
    const server = net.createServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', () => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${archive.length - 5}\r\n\r\n`)
        socket.end(archive)
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const { failure } = await runFetch(`http://127.0.0.1:${port}/a.tgz`, unsafe(port))
    await new Promise((resolve) => server.close(resolve))
    expect(['download_failed', 'archive_refused']).toContain(failure?.reason)
  })

  test('that announces more than the limit is refused at once', async () => {
    await using server = await startServer((_request, response) => {
      response.writeHead(200, { 'content-length': String(600 * 1024 * 1024) })
      response.write('x')
    })
    const { failure } = await runFetch(`${server.origin}/a.zip`, unsafe(server.port))
    expect(failure?.reason).toBe('code_too_large')
    expect(failure?.detail).toContain('600 MiB')
  })
})

describe('a URL that does not show its kind', () => {
  test.each([
    ['name in the query', '/download?file=code.tar.gz', { 'content-type': 'text/plain' }],
    ['name in Content-Disposition', '/get?id=7', { 'content-disposition': 'attachment; filename="x.tgz"' }],
    ['word in the path', '/api/v1/crates/x/download', {}],
    ['misleading name', '/a.zip', { 'content-type': 'application/zip' }],
    ['status 203 from a proxy', '/a.tgz', {}, 203],
  ])('is recognised by its bytes: %s', async (_case, where, headers, status = 200) => {
    await using server = await startServer((_request, response) => {
      response.writeHead(status as number, headers).end(archive)
    })
    const { failure, tree } = await runFetch(`${server.origin}${where}`, unsafe(server.port))
    expect(failure).toBeUndefined()
    expect(tree).toEqual({ a: '1' })
    expect(server.requests).toEqual([`GET ${where}`])
  })

  test('of GitHub’s tarball API redirects to another host, which is checked too', async () => {
    await using codeload = await startServer((_request, response) => void response.end(archive))
    await using api = await startServer((_request, response) => {
      response.writeHead(302, { location: `${codeload.origin}/o/r/legacy.tar.gz/refs/heads/main` }).end()
    })
    const url = `${api.origin}/repos/o/r/tarball/main`
    expect((await runFetch(url, unsafe(api.port, codeload.port))).tree).toEqual({ a: '1' })
    expect((await runFetch(url, unsafe(api.port))).failure?.reason).toBe('code_host_refused')
    expect(codeload.requests).toHaveLength(1)
  })
})

describe('Content-Encoding', () => {
  const serve = (body: Buffer, encoding: string, options = {}): Promise<Outcome> =>
    fetchBytes(body, { headers: { 'content-encoding': encoding }, ...options })
  const zipped = zip([{ name: 'a', data: '1' }])

  test.each([
    ['gzip around a tar.gz', zlib.gzipSync(archive), 'gzip'],
    ['x-gzip around a zip', zlib.gzipSync(zipped), 'X-GZIP'],
    ['brotli around a tar.gz', zlib.brotliCompressSync(archive), 'br'],
    ['deflate around a tar', zlib.deflateSync(zlib.gunzipSync(archive)), 'deflate'],
    ["gzip that is the tar.gz's own", archive, 'gzip'],
    ['a false gzip', zipped, 'gzip'],
    ['an unknown name', archive, '__proto__'],
  ])('is removed: %s', async (_case, body, encoding) => {
    const { failure, tree } = await serve(body, encoding)
    expect(failure).toBeUndefined()
    expect(tree).toEqual({ a: '1' })
  })

  test('may be inside or outside of what the checksum covers', async () => {
    const body = zlib.gzipSync(archive)
    const outer = createHash('sha256').update(body).digest('hex')
    for (const checksum of [sha256, outer]) expect((await serve(body, 'gzip', { checksum })).tree).toEqual({ a: '1' })
    expect((await serve(body, 'gzip', { checksum: 'a'.repeat(64) })).failure?.reason).toBe('checksum_mismatch')
  })

  test('around a bomb is cut off at the size limit', async () => {
    const deps = { limits: { downloadBytes: 1024 * 1024 } }
    const { failure, beside } = await serve(zlib.gzipSync(Buffer.alloc(50_000_000)), 'gzip', { deps })
    expect(failure?.detail).toMatch(/^too-large/)
    expect(beside).toEqual(['workspace'])
  })
})

describe('a download that breaks', () => {
  const damaged = Buffer.from(archive)
  damaged.writeUInt32LE(1, damaged.length - 8)
  const badZip = zip([{ name: 'a', data: '1', crc: 7 }])

  /** Sends each answer in turn, and then the last one for ever. */
  async function inTurn(
    answers: readonly http.RequestListener[],
    options: FetchTestOptions = {},
  ): Promise<Outcome & { count: number }> {
    let count = 0
    await using server = await startServer((request, response) => {
      answers[Math.min(count++, answers.length - 1)]?.(request, response)
    })
    const outcome = await runFetch(`${server.origin}/a.tgz`, { ...unsafe(server.port), ...options })
    return { ...outcome, count }
  }
  const whole: http.RequestListener = (_request, response) => void response.end(archive)
  const reset: http.RequestListener = (request) => request.socket.resetAndDestroy()
  const short: http.RequestListener = (_request, response) => {
    response.writeHead(200, { 'content-length': archive.length })
    response.write(archive.subarray(0, 50))
    setTimeout(() => response.destroy(), 10)
  }
  const send =
    (body: Buffer, status = 200): http.RequestListener =>
    (_request, response) =>
      void response.writeHead(status).end(body)

  const later =
    (status: number, after: string): http.RequestListener =>
    (_request, response) =>
      void response.writeHead(status, { 'retry-after': after }).end()

  test.each([
    ['status 500', send(Buffer.alloc(0), 500), 500],
    ['status 502', send(Buffer.alloc(0), 502), 502],
    ['status 503, with a moment that it wants', later(503, '2'), 503],
    ['status 504', send(Buffer.alloc(0), 504), 504],
    ['status 429, with a moment that it wants', later(429, '1'), 429],
  ])('that is answered by %s is tried once more', async (_case, troubled, status) => {
    const good = await inTurn([troubled, whole])
    expect(good.failure).toBeUndefined()
    expect(good).toMatchObject({ tree: { a: '1' }, count: 2, stages: ['fetching_code', 'verifying'] })
    expect(good.notes).toContain(`the server answered ${status}; the second attempt succeeded`)
    const bad = await inTurn([troubled])
    expect(bad.failure?.reason).toBe('download_failed')
    expect(bad.failure?.detail).toContain(`answered ${status}`)
    expect(bad).toMatchObject({ tree: {}, beside: ['workspace'], count: 2 })
  })

  test.each([
    ['by a reset', reset],
    ['short of its length', short],
    ['early without a length', send(archive.subarray(0, 50))],
    ['with a wrong checksum in its gzip', send(damaged)],
    ['with a wrong checksum in its half-unpacked zip', send(badZip)],
  ])('%s is tried once more', async (_case, broken) => {
    const good = await inTurn([broken, whole])
    expect(good.failure).toBeUndefined()
    expect(good).toMatchObject({ tree: { a: '1' }, count: 2, stages: ['fetching_code', 'verifying'] })
    expect(good.notes.join()).toContain('the second attempt succeeded')
    const bad = await inTurn([broken])
    expect(bad.failure?.reason).toMatch(/^(download_failed|archive_refused)$/)
    expect(bad).toMatchObject({ tree: {}, beside: ['workspace'], count: 2 })
  })

  test.each<[string, http.RequestListener, FetchTestOptions]>([
    ['status 404', send(Buffer.alloc(0), 404), {}],
    ['status 501', send(Buffer.alloc(0), 501), {}],
    ['status 429 without a word of when', send(Buffer.alloc(0), 429), {}],
    ['a server that wants a minute', later(503, '60'), {}],
    ['a server that names a day', later(503, 'Fri, 01 Jan 2100 00:00:00 GMT'), {}],
    ['a checksum that does not match', whole, { checksum: '0'.repeat(64) }],
    ['an archive that is refused by a rule', send(tarGz([{ name: '../x' }])), {}],
    [
      'damage that the checksum vouches for',
      send(damaged),
      { checksum: createHash('sha256').update(damaged).digest('hex') },
    ],
    ['a file that is not an archive', send(Buffer.from('<html>')), {}],
  ])('with %s is not tried again', async (_case, answer, options) => {
    const { failure, count } = await inTurn([answer, whole], options)
    expect(failure).toBeDefined()
    expect(count).toBe(1)
  })

  test('with a wrong checksum after a broken try is refused with both values', async () => {
    const { failure, count } = await inTurn([short, whole], { checksum: '0'.repeat(64) })
    expect(failure?.reason).toBe('checksum_mismatch')
    expect(count).toBe(2)
  })

  test('has one size limit for both tries', async () => {
    const large = tarGz([{ name: 'a', data: randomBytes(80_000) }])
    const cut = send(large.subarray(0, 70_000))
    const fits = await inTurn([cut, send(large)], { deps: { limits: { downloadBytes: 200_000 } } })
    expect(fits.failure).toBeUndefined()
    const { failure } = await inTurn([cut, send(large)], { deps: { limits: { downloadBytes: 100_000 } } })
    expect(failure?.reason).toBe('code_too_large')
    expect(failure?.detail).toContain('of the first attempt')
  })

  test('ends when it is aborted between the tries', async () => {
    const stop = new AbortController()
    const stopping: http.RequestListener = (request) => {
      stop.abort(new Error('stopped'))
      request.socket.resetAndDestroy()
    }
    await expect(inTurn([stopping, whole], { signal: stop.signal })).rejects.toThrow('stopped')
  })
})

test('is refused with the name of the server that refused the connection', async () => {
  const port = await (async () => {
    await using server = await startServer(() => {})
    return server.port
  })()
  const { failure } = await runFetch(`http://127.0.0.1:${port}/a.zip`, unsafe(port))
  expect(failure?.reason).toBe('download_failed')
  expect(failure?.detail).toContain('refused the connection')
})

test('ends with the reason of an abort, and leaves nothing', async () => {
  const stop = new AbortController()
  await using server = await startServer((_request, response) => {
    response.write('x')
    setTimeout(() => stop.abort(new Error('stopped')), 50)
  })
  await expect(runFetch(`${server.origin}/a.zip`, { ...unsafe(server.port), signal: stop.signal })).rejects.toThrow(
    'stopped',
  )
})

describe('https', () => {
  const { key, cert } = createCertificate()
  async function startTls(): Promise<AsyncDisposable & { port: number }> {
    const server = https.createServer({ key, cert }, (_request, response) => void response.end(archive))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return {
      port: (server.address() as AddressInfo).port,
      [Symbol.asyncDispose]: async () => {
        server.closeAllConnections()
        await new Promise((resolve) => server.close(resolve))
      },
    }
  }

  test('with a trusted certificate works', async () => {
    await using server = await startTls()
    const outcome = await runFetch(`https://127.0.0.1:${server.port}/a.tgz`, {
      ...unsafe(server.port),
      deps: { ca: cert },
    })
    expect(outcome.failure).toBeUndefined()
    expect(outcome.tree).toEqual({ a: '1' })
  })

  test('with an untrusted certificate is refused, even for a listed host', async () => {
    await using server = await startTls()
    const { failure } = await runFetch(`https://127.0.0.1:${server.port}/a.tgz`, unsafe(server.port))
    expect(failure?.reason).toBe('download_failed')
    expect(failure?.detail).toContain('certificate')
  })
})
