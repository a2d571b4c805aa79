// A process that behaves as a host does towards its launcher: says where it listens, ends when a file tells it to.
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import path from 'node:path'

const spool = process.env.CLISCALE_SPOOL_DIR
writeFileSync(path.join(spool, 'environment.json'), JSON.stringify(process.env))
writeFileSync(path.join(spool, 'starts'), `${process.pid}\n`, { flag: 'a' })
const token = readFileSync(process.env.CLISCALE_IDENTITY_TOKEN_FILE, 'utf8')
const server = net.createServer((socket) => socket.on('error', () => {}).end(token))
server.listen(0, '127.0.0.1', () => {
  const file = process.env.CLISCALE_ENDPOINT_FILE
  writeFileSync(`${file}.new`, JSON.stringify({ port: server.address().port }))
  renameSync(`${file}.new`, file)
})
setInterval(() => {
  const exit = path.join(spool, 'exit')
  if (!existsSync(exit)) return
  const code = Number(readFileSync(exit, 'utf8'))
  rmSync(exit)
  if (code === 0) writeFileSync(process.env.CLISCALE_ENDPOINT_FILE, '{"done":true}')
  process.exit(code)
}, 20)
