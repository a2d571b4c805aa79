/**
 * Looks at an image from inside. It is given to Node as text, with `{name, whole, folder, forbidden}` as its argument: the
 * image, where all of it and where our files are, and the packages that it must not hold. Its last line is `{faults, mb}`.
 */
import { spawn, spawnSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { lstatSync, readdirSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

const { name, whole, folder, forbidden } = JSON.parse(process.argv[1])
const START_LIMIT_MS = 60_000
/** What the runner's default image promises, done as a session does it: nothing but /tmp can be written. */
const PEOPLE_NEED = [
  'for each in curl file jq less nano npm npx patch pnpm ps ssh tree unzip uv vi wget xz zip; do command -v $each; done',
  'export HOME=/tmp/home; mkdir -p $HOME; npm --version; pnpm --version; uv --version',
  'cd /tmp; python3 -m venv by-python; by-python/bin/pip --version; python -c "import ssl, sqlite3, lzma"',
  'cd /tmp; HOME=/tmp/home uv venv --quiet by-uv; by-uv/bin/python -c "import sys; assert sys.prefix != sys.base_prefix"',
  String.raw`cd /tmp; printf 'a: a.cc\n\tg++ -o a a.cc\n' >Makefile; printf '#include <cmath>\nint main() { return std::cos(0) != 1; }\n' >a.cc; make; ./a`,
  'cd /tmp; echo "#include <Python.h>" >b.c; gcc -c $(python3-config --includes) b.c',
]

/** What has no place in production: types, source maps, tests, keys. */
const UNWANTED = /\.(ts|mts|cts|map|pem|key|crt)$|\.test\.|(^|\/)(\.env|\.npmrc|\.git)(\/|$)/

const faults = [...filesInFolder()]
if (process.getuid() === 0) faults.push('it runs as root')
faults.push(...(name.startsWith('runner') ? runnerFaults() : await serviceFaults()))
const du = spawnSync('du', ['-sxm', whole], { encoding: 'utf8' })
console.log(JSON.stringify({ faults, mb: parseInt(du.stdout, 10) }))

function* filesInFolder() {
  for (const relative of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const stat = lstatSync(`${folder}/${relative}`)
    const open = !stat.isSymbolicLink() && (stat.mode & 0o002) !== 0
    if (open || stat.uid === process.getuid()) yield `it may write ${folder}/${relative}`
    if (UNWANTED.test(relative)) yield `${folder}/${relative}`
    const [, found] = /(?:^|\/)node_modules\/((?:@[^/]+\/)?[^/]+)$/.exec(relative) ?? []
    if (forbidden.includes(found)) yield `dev dependency ${found}`
  }
}

function runnerFaults() {
  // Loaded when a command starts, not before.
  const binding = 'require("/opt/cliscale/node_modules/@lydell/node-pty/requireBinary.js").requireBinary("pty.node")'
  const expected = [
    { file: 'node', args: ['/opt/cliscale/host.js'], code: 78 },
    { file: 'node', args: ['/opt/cliscale/work.js'], code: 78 },
    { file: '/opt/cliscale/bin/tini', args: ['--version'], code: 0 },
    { file: 'git', args: ['--version'], code: 0 },
    { file: 'bash', args: ['-c', 'exit 0'], code: 0 },
    { file: 'node', args: ['-e', `${binding}.open(80, 24)`], code: 0 },
  ]
  if (name === 'runner')
    expected.push(...PEOPLE_NEED.map((script) => ({ file: 'bash', args: ['-ec', script], code: 0 })))
  return expected.flatMap(({ file, args, code }) => {
    const { status, stderr } = spawnSync(file, args, { encoding: 'utf8' })
    return status === code ? [] : [`${file} ${args[0]} ended with ${status} instead of ${code}: ${stderr}`]
  })
}

/** Of what its settings name nothing answers: to be alive must depend on nothing. */
function settings() {
  const shared = {
    CLISCALE_DATABASE_URL: 'postgres://nobody:nothing@127.0.0.1:1/none',
    CLISCALE_LISTEN_ADDRESS: '127.0.0.1',
  }
  if (name === 'ws-gateway') return { ...shared, CLISCALE_JWKS_URL: 'http://127.0.0.1:1/jwks.json' }
  writeFileSync('/tmp/session.json', '{"runnerImage":"registry.invalid/runner:1"}')
  const kubeconfig = {
    clusters: [{ name: 'none', cluster: { server: 'https://127.0.0.1:1' } }],
    users: [{ name: 'none', user: {} }],
    contexts: [{ name: 'none', context: { cluster: 'none', user: 'none' } }],
    'current-context': 'none',
  }
  writeFileSync('/tmp/kubeconfig', JSON.stringify(kubeconfig))
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  return {
    ...shared,
    CLISCALE_API_KEY: 'cs_key_check_0123456789abcdef0123456789abcdef',
    CLISCALE_DATA_KEY: Buffer.alloc(32, 7).toString('base64'),
    CLISCALE_SIGNING_KEY: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    CLISCALE_KUBERNETES_NAMESPACE: 'none',
    CLISCALE_INSTANCE: 'check',
    CLISCALE_INTERNAL_URL: 'http://127.0.0.1:7082',
    CLISCALE_SESSION_TEMPLATE_FILE: '/tmp/session.json',
    KUBECONFIG: '/tmp/kubeconfig',
  }
}

async function serviceFaults() {
  const startedAt = Date.now()
  const env = { ...process.env, ...settings() }
  const child = spawn('node', [`${name}/dist/main.js`], { cwd: '/app', env, stdio: ['ignore', 'pipe', 'pipe'] })
  let log = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (log += String(chunk)))
  const url = `http://127.0.0.1:${name === 'controller' ? 7080 : 7081}/healthz`
  let alive = false
  while (!alive && child.exitCode === null && Date.now() - startedAt < START_LIMIT_MS) {
    await sleep(50)
    alive = await fetch(url).then(
      ({ ok }) => ok,
      () => false,
    )
  }
  child.kill('SIGKILL')
  if (alive) console.log(`${name} answers /healthz after ${Date.now() - startedAt} ms`)
  return alive ? [] : [`it does not answer /healthz: ${log.slice(-2000)}`]
}
