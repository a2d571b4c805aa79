/** The images of e2e: built when what they are made from has changed, named by a hash of it, and brought to the cluster. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { root, Unready } from '../prepare.mjs'
import { clusterEnv, run } from './cluster.mjs'

/** What is built: the folder of the Dockerfile, which of its stages, and the image it is made from when that is one of ours. */
const IMAGES = {
  controller: { folder: 'controller', name: 'controller' },
  gateway: { folder: 'ws-gateway', name: 'ws-gateway' },
  // A fraction of the default's size; scripts/check-images.mjs looks at that one.
  runner: { folder: 'runner', name: 'runner-slim', target: 'slim' },
  custom: { folder: 'e2e/cluster/custom-image', name: 'custom-runner', from: 'runner' },
}
/** As .dockerignore leaves them out. */
const LEFT_OUT = new Set(['node_modules', 'dist', 'test', 'bench', 'public'])

/** A hash of everything that the Dockerfile copies from the repository, of the Dockerfile, and of `more`. */
function contentHash(folder, more) {
  const dockerfile = readFileSync(path.join(root, folder, 'Dockerfile'), 'utf8')
  const sources = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap((match) => match[1].split(' '))
  const hash = createHash('sha256')
    .update(dockerfile)
    .update(readFileSync(path.join(root, '.dockerignore')))
    .update(more)
  for (const file of [...new Set(sources)].sort().flatMap((source) => filesIn(source))) {
    hash
      .update(`${file}\0`)
      .update(readFileSync(path.join(root, file)))
      .update('\0')
  }
  return hash.digest('hex').slice(0, 16)
}

function filesIn(name) {
  const full = path.join(root, name)
  if (!statSync(full).isDirectory()) return [name]
  return readdirSync(full)
    .sort()
    .filter((child) => !LEFT_OUT.has(child) && !/\.test\.ts$|\.tsbuildinfo$/.test(child))
    .flatMap((child) => filesIn(path.join(name, child)))
}

/**
 * The full name of an image, which says what it is made from: it is known before the image is built.
 *
 * @param {keyof typeof IMAGES} part
 * @param {{ clusterFolder: string | null, images: Record<string, string> }} state
 */
export function imageName(part, state) {
  const { folder, name, from } = IMAGES[part]
  const tagged = `cliscale/${name}:e2e-${contentHash(folder, from ? state.images[from] : '')}`
  if (state.clusterFolder !== null) return tagged
  const registry = process.env['E2E_IMAGE_REGISTRY']
  if (!registry) {
    throw new Unready('E2E_KUBECONFIG names a cluster, so E2E_IMAGE_REGISTRY must name a registry that it pulls from.')
  }
  return `${registry.replace(/\/$/, '')}/${tagged}`
}

/**
 * Builds an image and brings it to where the cluster finds it, unless that was done for the same content before.
 *
 * @param {keyof typeof IMAGES} part
 * @param {{ clusterFolder: string | null, images: Record<string, string> }} state
 * @returns {Promise<string>} its full name
 */
export async function provideImage(part, state) {
  const { folder, from, target } = IMAGES[part]
  const image = imageName(part, state)
  const only = target ? ['--target', target] : []
  const base = from ? ['--build-arg', `RUNNER_IMAGE=${state.images[from]}`] : []
  const args = ['-f', `${folder}/Dockerfile`, ...only, ...base, '.']
  if (state.clusterFolder === null) return pushImage(image, args, state.images[part])
  if (state.images[part] === image && isLoaded(state, image)) return image
  await run(path.join(state.clusterFolder, 'build'), [image, ...args], { seconds: 900 })
  await load(state, image)
  return image
}

/**
 * The image that brings its own ttyd: made by the program that TTYD_BUILD names, where it is there; E2E_TTYD_IMAGE on
 * other clusters. Undefined when there is none.
 */
export async function provideTtyd(state) {
  if (state.clusterFolder === null) return process.env['E2E_TTYD_IMAGE']
  const program = path.resolve(root, process.env['TTYD_BUILD'] ?? '../shared/ttyd/build')
  if (!existsSync(program)) return undefined
  const image = (await run(program, ['--image'], { seconds: 600 })).trim().split('\n').at(-1)
  if (!isLoaded(state, image)) await load(state, image)
  return image
}

function load(state, image) {
  return run(path.join(state.clusterFolder, 'load'), [image], { seconds: 300 })
}

/** The node says which images it has, within a minute. */
function isLoaded(state, name) {
  const { stdout } = spawnSync('kubectl', ['get', 'nodes', '-o', 'jsonpath={.items[*].status.images[*].names[*]}'], {
    encoding: 'utf8',
    env: clusterEnv(state),
  })
  return (stdout ?? '').split(' ').some((each) => each === name || each.endsWith(`/${name}`))
}

async function pushImage(image, args, before) {
  if (before === image) return image
  const builder = ['docker', 'buildah'].find((each) => spawnSync(each, ['--version']).status === 0)
  if (!builder) throw new Unready('Neither docker nor buildah is here to build the images with.')
  await run(builder, ['build', '-t', image, ...args], { seconds: 1800 })
  await run(builder, ['push', image], { seconds: 900 })
  return image
}
