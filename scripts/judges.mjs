/**
 * `npm run judges`: judges that nobody here wrote look at us. The Autobahn test suite's cases (kosoku) at the session
 * host and through the gateway, and Schemathesis at the API by its description. They are Python programs, installed
 * once into a folder of their own in the user's cache; TEST_JUDGES names another one. Further arguments go to
 * Jest.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { root, runScript, Unready } from './prepare.mjs'
import { step } from './steps.mjs'

const REQUIREMENTS = path.join(root, 'test-kit/judges/requirements.txt')

runScript(async () => {
  const judges = process.env['TEST_JUDGES'] ?? (await installed())
  const args = [path.join(root, 'scripts/test.mjs'), '\\.judge\\.ts$', '--runInBand', ...process.argv.slice(2)]
  const env = { ...process.env, TEST_JUDGES: judges }
  process.exitCode = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit', env }).status ?? 1
})

/** A folder for each set of versions; what is there has been installed to its end. */
async function installed() {
  const version = python('--version')
  const key = createHash('sha256').update(version).update(readFileSync(REQUIREMENTS)).digest('hex').slice(0, 12)
  const cache = process.env['XDG_CACHE_HOME'] || path.join(os.homedir(), '.cache')
  const folder = path.join(cache, 'cliscale', `judges-${key}`)
  const programs = path.join(folder, 'bin')
  const done = path.join(folder, 'installed')
  if (existsSync(done)) return programs
  await step('Installing the judges (the first time this takes about a minute)', async () => {
    // A venv cannot be moved: an unfinished one is made again in its place.
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(path.dirname(folder), { recursive: true })
    python('-m', 'venv', folder)
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-deps', '-r', REQUIREMENTS]
    execFileSync(path.join(programs, 'python'), pip, { stdio: ['ignore', 'ignore', 'inherit'] })
    writeFileSync(done, '')
  })
  return programs
}

function python(...args) {
  const { status, stdout, stderr, error } = spawnSync('python3', args, { encoding: 'utf8' })
  if (status === 0) return stdout
  throw new Unready(
    `The judges need Python 3.10 or newer with venv (Debian: apt-get install python3-venv). python3 ${args[0]}: ${
      error?.message ?? (stderr.trim() || stdout.trim())
    }`,
  )
}
