// Its command starts processes that shed environment, session and parents; one of them carries the session's tag.
import { spawn } from 'node:child_process'
import net from 'node:net'

const { CLISCALE_HOME_DIR: home, CLISCALE_WORK_SOCKET: socket, CLISCALE_SESSION_ID: id } = process.env
net.createServer(() => {}).listen(socket)
const tag = BigInt(`0x${id.replaceAll('-', '').slice(-15)}`)
const stay = (file) => `trap "" TERM HUP; echo $$ > ${file}.new; mv ${file}.new ${file}; while :; do sleep 0.2; done`
for (const [name, before] of [
  ['tagged', `ulimit -x ${tag}`],
  ['bare', 'true'],
]) {
  const script = `${before}; (env -i setsid bash -c '${stay(`${home}/${name}`)}' </dev/null >/dev/null 2>&1 &)`
  spawn('/bin/bash', ['-c', script], { detached: true, stdio: 'ignore' })
}
