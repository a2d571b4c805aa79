import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { readState, run, runFolder } from '../../scripts/e2e/cluster.mjs'
import { root } from '../../scripts/prepare.mjs'

/** Starts the simulated internet, where the test cluster has room for one. */
export default async function setUp() {
  const state = readState()
  if (!state?.address) throw new Error('There is no system to test: run npm run e2e:up first.')
  if (state.clusterFolder === null) {
    process.stderr.write(
      'Not the test cluster: there is no simulated internet, and no part of the cluster is stopped.\n',
    )
    return
  }
  const pki = path.join(runFolder(state), 'pki')
  const options = {
    certificate: path.join(pki, 'outside.crt'),
    key: path.join(pki, 'outside.key'),
    sampleCli: path.join(root, 'sample-cli'),
    packages: await packPackages(path.join(root, '.cache/e2e/packages')),
  }
  const program = [process.execPath, path.join(root, 'e2e/cluster/internet.mjs'), JSON.stringify(options)]
  const internet = spawn(path.join(state.clusterFolder, 'outside'), program, { stdio: ['pipe', 'pipe', 'inherit'] })
  await new Promise((resolve, reject) => {
    internet.stdout.once('data', resolve)
    internet.once('error', reject)
    internet.once('exit', (code) => reject(new Error(`the simulated internet ended with ${code}`)))
  })
  globalThis.cliscaleInternet = internet
}

/** Packs what the sample's lock file names, as a registry would serve it. */
async function packPackages(folder) {
  mkdirSync(folder, { recursive: true })
  const lock = JSON.parse(readFileSync(path.join(root, 'sample-cli/package-lock.json'), 'utf8'))
  const wanted = Object.entries(lock.packages)
    .filter(([at]) => at !== '')
    .map(([at, { version }]) => ({ name: at.slice(at.lastIndexOf('node_modules/') + 13), version }))
    .filter(
      ({ name, version }) =>
        !existsSync(path.join(folder, `${name.replace('@', '').replace('/', '-')}-${version}.tgz`)),
    )
  if (wanted.length === 0) return folder
  const names = wanted.map(({ name, version }) => `${name}@${version}`)
  const npm = spawnSync('npm', ['--version']).status === 0 ? 'npm' : path.join(path.dirname(process.execPath), 'npm')
  await run(npm, ['pack', '--silent', '--pack-destination', folder, ...names], { seconds: 180 })
  return folder
}
