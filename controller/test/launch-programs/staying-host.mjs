// A host that notes when it is told to end, and ends only when a file tells it to.
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import './host.mjs'

process.on('SIGTERM', () => {
  writeFileSync(path.join(process.env.CLISCALE_SPOOL_DIR, 'told'), `${process.pid}\n`, { flag: 'a' })
})
