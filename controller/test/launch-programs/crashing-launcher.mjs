// Launches a session and is killed at one step of it: `crashing-launcher.mjs <options as JSON> <session id> <step>`.
import { createLocalLauncher } from '../../dist/launch/local/local-launcher.js'
import { createProcessTable } from '../../dist/launch/local/process-table.js'

const [options, sessionId, step] = process.argv.slice(2)
const table = createProcessTable()
const dieAt =
  (name) =>
  async (...args) => {
    if (armed && step === `${name} ${++counts[name]}`) process.kill(process.pid, 'SIGKILL')
    return table[name](...args)
  }
const counts = { find: 0, ofProgram: 0, ofSession: 0, alive: 0 }
let armed = false
const processes = Object.fromEntries(Object.keys(counts).map((name) => [name, dieAt(name)]))
const logger = { warn() {}, error() {}, info() {}, debug() {} }
const launcher = await createLocalLauncher({ ...JSON.parse(options), logger, processes, pollMs: 60_000 })
armed = true
await launcher.launch({ sessionId, timeoutSeconds: 60 })
if (step.startsWith('ofSession')) await launcher.remove(sessionId)
process.exit(3)
