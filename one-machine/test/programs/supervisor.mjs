/** Keeps the small server running on a data folder, with the Node at a given path, until its input ends. */
import { once } from 'node:events'
import path from 'node:path'
import { openDataDir } from '../../dist/up/data-dir.js'
import { createPrinter } from '../../dist/up/printer.js'
import { keepServer } from '../../dist/up/server-keeper.js'

const [root, node] = process.argv.slice(2)
process.execPath = node
const paths = await openDataDir(root)
try {
  const keeper = await keepServer({
    program: path.join(import.meta.dirname, 'small-server.mjs'),
    start: { env: {}, dataDir: paths.root, runDir: paths.run, internalSocket: paths.internalSocket },
    paths,
    printer: createPrinter(process.stdout),
    environment: { PATH: process.env.PATH },
  })
  console.log('ready')
  await once(process.stdin.resume(), 'end')
  await keeper.stop(10_000)
} catch (error) {
  console.log(error.message)
  process.exit(1)
}
