/** `npm start`: makes the clone ready, then runs `cliscale up` in this same process, so that Ctrl-C reaches it. */
import { prepare, runScript } from './prepare.mjs'

runScript(async () => {
  console.log('CLI Scale is starting.')
  await prepare()
  process.argv = [process.argv[0], process.argv[1], 'up', ...process.argv.slice(2)]
  await import('../cli/dist/main.js')
})
