/** `npm run build`: installs and builds what is missing or stale. */
import { prepare, runScript } from './prepare.mjs'

runScript(prepare)
