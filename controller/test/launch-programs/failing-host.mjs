import { writeFileSync } from 'node:fs'
import path from 'node:path'

writeFileSync(path.join(process.env.CLISCALE_SPOOL_DIR, 'starts'), `${process.pid}\n`, { flag: 'a' })
process.exit(78)
