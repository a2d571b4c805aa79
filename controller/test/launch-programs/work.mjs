// A process that behaves as work does towards its launcher, and whose command tries to get away.
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import net from 'node:net'
import path from 'node:path'

const home = process.env.CLISCALE_HOME_DIR
writeFileSync(path.join(home, 'environment.json'), JSON.stringify(process.env))
writeFileSync(path.join(home, 'starts'), `${process.pid}\n`, { flag: 'a' })
net.createServer(() => {}).listen(process.env.CLISCALE_WORK_SOCKET)
const away = 'trap "" TERM HUP; echo $$ > "$CLISCALE_HOME_DIR/away"; while :; do sleep 1; done'
spawn('/bin/sh', ['-c', `setsid sh -c '${away}' >/dev/null 2>&1 & exit 0`], { detached: true, stdio: 'ignore' })
