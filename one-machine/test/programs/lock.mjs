/** Takes a data folder's lock at a given moment, prints the outcome, and holds it until its input ends. */
import { setTimeout as sleep } from 'node:timers/promises'
import { lockDataDir } from '../../dist/up/data-dir-lock.js'

const [root, at] = process.argv.slice(2)
await sleep(Math.max(0, Number(at) - Date.now()))
try {
  await lockDataDir(root, `http://process-${process.pid}`)
  console.log('held')
} catch (error) {
  console.log(error.message)
}
process.stdin.resume()
