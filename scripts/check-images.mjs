/**
 * Builds the images and looks at each from inside, as its pods run it: not as root, with a root file system that
 * cannot be written. It must answer /healthz (the runner: say what its programs miss), and hold nothing of development:
 * no dev dependency, test, type, source map or key. Ends with "N passed, N failed".
 *
 *   node scripts/check-images.mjs [controller=IMAGE] [ws-gateway=IMAGE] [runner=IMAGE] [runner-slim=IMAGE]
 *
 * An image that is named is not built. IMAGE_BUILD is called with a tag and the arguments of `docker build` (by default
 * `docker build -t`), IMAGE_LOAD with the tag when it is built. Images run in pods of the cluster that E2E_KUBECONFIG
 * names, else by docker.
 */
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const BUILDS = {
  controller: ['-f', 'controller/Dockerfile'],
  'ws-gateway': ['-f', 'ws-gateway/Dockerfile'],
  runner: ['-f', 'runner/Dockerfile'],
  'runner-slim': ['-f', 'runner/Dockerfile', '--target', 'slim'],
}
const NAMES = Object.keys(BUILDS)
const isRunner = (name) => name.startsWith('runner')
const LIMIT_MS = 120_000

/** Runs in the image, and prints a line of JSON at its end. */
const INSIDE = readFileSync(path.join(root, 'scripts/images/inside.mjs'), 'utf8')

/** Everything that some package needs for development, less what this image's packages need, and what those need. */
function forbiddenIn(name) {
  const { packages } = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8'))
  const folders = Object.keys(packages).filter((each) => !each.includes('node_modules'))
  const names = new Set(folders.flatMap((each) => Object.keys(packages[each].devDependencies ?? {})))
  const needed = [isRunner(name) ? '@lydell/node-pty' : `@cliscale/${name}`]
  for (const each of needed) {
    const entry = packages[`node_modules/${each}`]
    const { dependencies, optionalDependencies } = (entry?.link ? packages[entry.resolved] : entry) ?? {}
    for (const more of Object.keys({ ...dependencies, ...optionalDependencies }))
      if (!needed.includes(more)) needed.push(more)
  }
  return [...names].filter((each) => each.startsWith('@types/') || !needed.includes(each))
}

function run(file, args, options = {}) {
  const done = spawnSync(file, args, { cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024, ...options })
  if (done.status === 0) return done.stdout
  throw new Error(`${file} ${args.slice(0, 3).join(' ')} … failed: ${done.error ?? done.stderr}`)
}

function provide(name) {
  const given = process.argv.slice(2).find((arg) => arg.startsWith(`${name}=`))
  if (given !== undefined) return given.slice(name.length + 1)
  const tag = `cliscale/${name}:check`
  const [build, ...first] = (process.env['IMAGE_BUILD'] ?? 'docker build -t').split(' ')
  run(build, [...first, tag, ...BUILDS[name], '.'])
  if (process.env['IMAGE_LOAD']) run(process.env['IMAGE_LOAD'], [tag])
  return tag
}

function dockerRun(image, command) {
  const limits = ['--read-only', '--tmpfs', '/tmp', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges']
  return run('docker', ['run', '--rm', ...limits, image, ...command], { timeout: LIMIT_MS })
}

/** A namespace with restricted pod security, and what runs a command in an image there. */
function inPods() {
  const namespace = `images-${randomBytes(4).toString('hex')}`
  const env = { ...process.env, KUBECONFIG: process.env['E2E_KUBECONFIG'] }
  const kubectl = (args, input) => run('kubectl', ['-n', namespace, ...args], { env, input, timeout: LIMIT_MS })
  const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' }
  kubectl(
    ['create', '-f', '-'],
    JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels } }),
  )
  const runInPod = (image, command, name) => {
    kubectl(['create', '-f', '-'], JSON.stringify(pod(namespace, name, image, command)))
    const ended = `jsonpath={.status.containerStatuses[0].state.terminated.exitCode}`
    kubectl(['wait', `pod/${name}`, `--for=${ended}`, `--timeout=${LIMIT_MS / 1000}s`])
    return kubectl(['logs', name])
  }
  return { run: runInPod, close: () => kubectl(['delete', 'namespace', namespace, '--wait=false']) }
}

/** As the image itself says who it runs as. */
function pod(namespace, name, image, command) {
  const securityContext = {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
  }
  const volumeMounts = [{ name: 'tmp', mountPath: '/tmp' }]
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace },
    spec: {
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [{ name, image, imagePullPolicy: 'IfNotPresent', command, securityContext, volumeMounts }],
      volumes: [{ name: 'tmp', emptyDir: {} }],
    },
  }
}

function check(name, start) {
  const image = provide(name)
  const about = JSON.stringify({
    name,
    whole: '/',
    folder: isRunner(name) ? '/opt/cliscale' : '/app',
    forbidden: forbiddenIn(name),
  })
  const lines = start(image, ['node', '--input-type=module', '-e', INSIDE, about], name).trim().split('\n')
  const { faults, mb } = JSON.parse(lines.pop())
  for (const line of lines) console.log(line)
  console.log(`${name}: ${mb} MB unpacked with its base, ${faults.length} faults (${image})`)
  for (const fault of faults.slice(0, 20)) console.log(`  ${fault}`)
  return faults.length === 0
}

const cluster = process.env['E2E_KUBECONFIG'] ? inPods() : undefined
let failed = 0
try {
  for (const name of NAMES) {
    try {
      if (!check(name, cluster === undefined ? dockerRun : cluster.run)) failed++
    } catch (error) {
      console.log(`${name}: ${error.message}`)
      failed++
    }
  }
} finally {
  cluster?.close()
}
console.log(`${NAMES.length - failed} passed, ${failed} failed`)
process.exitCode = failed > 0 ? 1 : 0
