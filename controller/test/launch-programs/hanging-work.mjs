// A work that hangs as soon as its program runs, which writes down that it was asked to end.
import { spawn } from 'node:child_process'
import net from 'node:net'

process.on('SIGTERM', () => {})
net.createServer(() => {}).listen(process.env.CLISCALE_WORK_SOCKET)
const program = 'trap "echo asked >> $HEARD; exit 0" TERM; echo up >> "$HEARD"; while :; do sleep 0.05; done'
spawn('/bin/sh', ['-c', program], { detached: true, stdio: 'ignore' })
setTimeout(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0), 100)
