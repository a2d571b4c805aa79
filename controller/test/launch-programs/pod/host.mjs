// Behaves as a host does in its pod: listens, ends when a file tells it to (`<exit code>`, or `0 stay` to leave work alive).
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import path from 'node:path'

const spool = process.env.CLISCALE_SPOOL_DIR
mkdirSync(spool, { recursive: true })
writeFileSync(path.join(spool, 'starts'), `${process.pid}\n`, { flag: 'a' })
const [address, port] = process.env.CLISCALE_LISTEN.split(':')
// The kubelet's probe asks it for /healthz.
createServer((_, response) => response.end('host')).listen(Number(port), address)
process.on('SIGTERM', () => process.exit(75))
setInterval(() => {
  const file = path.join(spool, 'exit')
  if (!existsSync(file)) return
  const [code, stay] = readFileSync(file, 'utf8').trim().split(' ')
  rmSync(file)
  if (code === '0') {
    const report = { status: 'succeeded', reason: null, detail: null, exitCode: 0, signal: null }
    writeFileSync(process.env.CLISCALE_TERMINATION_MESSAGE_FILE, JSON.stringify(report))
    if (stay === undefined) writeFileSync(path.join(path.dirname(process.env.CLISCALE_WORK_SOCKET), 'dismiss'), '')
  }
  process.exit(Number(code))
}, 20)
