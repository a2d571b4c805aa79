// Plays the server process for its supervisor: it listens nowhere, and hangs when a file tells it to.
import { existsSync, rmSync } from 'node:fs'
import path from 'node:path'

const hang = path.join(process.argv[2], 'hang')
process.on('disconnect', () => process.exit(0))
process.on('message', ({ type }) => {
  if (type === 'stop') {
    console.log('ending')
    process.exit(0)
  }
  process.send({ type: 'listening', port: 7 })
})
setInterval(() => process.send({ type: 'alive' }), 100)
setInterval(() => {
  if (!existsSync(hang)) return
  rmSync(hang)
  console.log('hanging')
  for (;;);
}, 20)
