// Its command takes more memory than it may have.
import { spawn } from 'node:child_process'
import net from 'node:net'

net.createServer(() => {}).listen(process.env.CLISCALE_WORK_SOCKET)
const eat = 'const all = []; for (;;) all.push(Buffer.alloc(4 << 20, 1))'
setTimeout(() => spawn(process.execPath, ['-e', eat], { stdio: 'ignore' }), 300)
