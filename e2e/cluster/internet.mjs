/**
 * The internet that sessions on the test cluster see: github.com with one repository, its tarballs at
 * codeload.github.com, and code.example with files, a package registry, and downloads that misbehave. It ends when its
 * standard input does, so that nothing is left when its parent is killed.
 *
 * Usage: node internet.mjs OPTIONS, a JSON of {certificate, key, sampleCli, packages}
 */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import https from 'node:https'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'

const options = JSON.parse(process.argv[2])
const ADDRESS = '11.11.0.80'
const run = promisify(execFile)
const COMMIT = '1234567890abcdef1234567890abcdef12345678'
const REFS = ['refs/heads/main', 'refs/heads/feature/slash', 'refs/tags/v1']

const packet = (line) => (Buffer.byteLength(line) + 4).toString(16).padStart(4, '0') + line

/** A tar.gz of a folder's tracked files below `prefix/`. */
async function tarball(folder, prefix) {
  const dir = path.dirname(folder)
  const { stdout } = await run('git', ['-C', dir, 'ls-files', '--', path.basename(folder)])
  const list = stdout.trim().split('\n')
  const args = ['-C', dir, '--transform', `s,^,${prefix}/,`, '--owner=0', '--group=0', '-czf', '-', ...list]
  return (await run('tar', args, { encoding: 'buffer', maxBuffer: 1 << 26 })).stdout
}

/** An archive of one file of random bytes, so that it is as large in transit as on disk. */
async function largeArchive(bytes) {
  const dir = await mkdtemp(path.join(os.tmpdir(), 'cs-internet-'))
  try {
    await writeFile(path.join(dir, 'large.bin'), randomBytes(bytes))
    return (await run('tar', ['-C', dir, '-czf', '-', 'large.bin'], { encoding: 'buffer', maxBuffer: 1 << 26 })).stdout
  } finally {
    await rm(dir, { recursive: true })
  }
}

/** What a registry says of each package that the sample's lock file names, from that file and the packed tarballs. */
async function registry() {
  const lock = JSON.parse(await readFile(path.join(options.sampleCli, 'package-lock.json'), 'utf8'))
  const packages = new Map()
  for (const [at, entry] of Object.entries(lock.packages)) {
    if (at === '') continue
    const name = at.slice(at.lastIndexOf('node_modules/') + 'node_modules/'.length)
    const file = `${name.replace('@', '').replace('/', '-')}-${entry.version}.tgz`
    const dist = { tarball: `https://code.example/${name}/-/${file}`, integrity: entry.integrity }
    const known = packages.get(name) ?? { name, 'dist-tags': { latest: entry.version }, versions: {} }
    known.versions[entry.version] = { ...entry, name, dist }
    packages.set(name, known)
  }
  return packages
}

const sample = await tarball(options.sampleCli, 'cliscale-main')
const large = await largeArchive(10 * 1024 * 1024)
const packages = await registry()

const send = (res, type, body) => res.writeHead(200, { 'content-type': type, 'content-length': body.length }).end(body)
const missing = (res) => res.writeHead(404, { 'content-type': 'text/plain' }).end('not found\n')

function github(req, res, url) {
  const found = /^\/example\/cliscale\.git\/(info\/refs|git-upload-pack)$/.exec(url.pathname)
  if (!found) return missing(res)
  req.resume()
  if (found[1] === 'info/refs') {
    const lines = packet('# service=git-upload-pack\n') + '0000' + packet('version 2\n') + packet('ls-refs\n') + '0000'
    return send(res, 'application/x-git-upload-pack-advertisement', Buffer.from(lines))
  }
  const refs = REFS.map((ref) => packet(`${COMMIT} ${ref}\n`)).join('')
  return send(res, 'application/x-git-upload-pack-result', Buffer.from(`${refs}0000`))
}

function codeload(_req, res, url) {
  const ref = /^\/example\/cliscale\/tar\.gz\/(.+)$/.exec(url.pathname)?.[1]
  if (!REFS.includes(ref)) return missing(res)
  return send(res, 'application/x-gzip', sample)
}

/** Downloads that never end, each in its own way. */
const ENDLESS = {
  '/stall.tar.gz': (res) => void res.write(sample.subarray(0, 1000)),
  '/slow.tar.gz': (res) => every(res, 1000, () => res.write('x')),
  '/endless.tar.gz': (res) => flood(res, randomBytes(64 * 1024)),
}

function every(res, ms, act) {
  const timer = setInterval(() => act(), ms)
  res.once('close', () => clearInterval(timer))
}

function flood(res, chunk) {
  res.write(gzipSync('').subarray(0, 10))
  const pour = () => {
    while (!res.destroyed && res.write(chunk));
  }
  res.on('drain', pour)
  pour()
}

async function codeExample(_req, res, url) {
  const endless = ENDLESS[url.pathname]
  if (endless) {
    res.writeHead(200, { 'content-type': 'application/gzip' })
    return endless(res)
  }
  if (url.pathname === '/') return send(res, 'text/plain', Buffer.from('the internet\n'))
  if (url.pathname === '/10mb.tar.gz') return send(res, 'application/gzip', large)
  if (url.pathname === '/sample.tar.gz') return send(res, 'application/gzip', sample)
  const name = decodeURIComponent(url.pathname.slice(1))
  const file = /\/-\/([\w.-]+\.tgz)$/.exec(name)?.[1]
  if (file) return send(res, 'application/octet-stream', await readFile(path.join(options.packages, file)))
  const found = packages.get(name)
  return found ? send(res, 'application/json', Buffer.from(JSON.stringify(found))) : missing(res)
}

const HOSTS = { 'github.com': github, 'codeload.github.com': codeload, 'code.example': codeExample }

async function serve(req, res) {
  const host = (req.headers.host ?? '').split(':')[0]
  const url = new URL(req.url ?? '/', `https://${host}`)
  await (HOSTS[host] ?? codeExample)(req, res, url)
}

const onRequest = (req, res) => {
  res.on('error', () => {})
  serve(req, res).catch(() => (res.headersSent ? res.destroy() : missing(res)))
}
const [certificate, key] = await Promise.all([options.certificate, options.key].map((file) => readFile(file)))
await once(https.createServer({ cert: certificate, key }, onRequest).listen(443, ADDRESS), 'listening')
await once(http.createServer(onRequest).listen(80, ADDRESS), 'listening')
process.stdout.write('ready\n')
process.stdin.resume().once('end', () => process.exit(0))
