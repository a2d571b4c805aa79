/**
 * `npm run e2e:up`: a cluster, the images, the database and the chart, so that sessions can be started; a second run
 * only does what has changed. Settings are in docs/e2e.md.
 */
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  apply,
  clusterEnv,
  isForeign,
  kubectl,
  kubectlJson,
  NAMESPACE,
  reachCluster,
  readState,
  RELEASE,
  run,
  runFolder,
  writeState,
} from './e2e/cluster.mjs'
import { imageName, provideImage, provideTtyd } from './e2e/images.mjs'
import { provideDatabase } from './e2e/postgres.mjs'
import { deployValues } from './e2e/values.mjs'
import { requireNode, root, runScript, Unready } from './prepare.mjs'
import { step, stepsAtOnce } from './steps.mjs'

runScript(async () => {
  requireNode()
  const state = { images: {}, ...readState() }
  Object.assign(state, await step('Cluster', reachCluster))
  writeState(state)
  // What is installed for the first image is a layer of the others as well.
  await step('Image controller', () => provide('controller', state))
  await stepsAtOnce({
    'Image gateway': () => provide('gateway', state),
    'Image runner': () => provide('runner', state),
    'Image ttyd': async () => {
      const ttyd = await provideTtyd(state)
      if (ttyd) state.images.ttyd = ttyd
    },
    Database: async () => {
      await namespace(state)
      state.database = await provideDatabase(state, 'cliscale_e2e', NAMESPACE)
    },
  })
  await stepsAtOnce({
    'Image custom': () => provide('custom', state),
    Chart: async () => {
      await deploy(state)
      state.address = await addressOf(state)
      await untilReady(state.address)
    },
  })
  writeState(state)
  tell(state)
})

async function provide(part, state) {
  state.images[part] = await provideImage(part, state)
  writeState(state)
}

/** A chart cannot label the namespace that it is installed into, so this does what an operator would. */
async function namespace(state) {
  const restricted = ['enforce', 'warn', 'audit'].map((mode) => [`pod-security.kubernetes.io/${mode}`, 'restricted'])
  const metadata = { name: NAMESPACE, labels: Object.fromEntries(restricted) }
  await apply(state, [{ apiVersion: 'v1', kind: 'Namespace', metadata }])
}

async function deploy(state) {
  const chart = path.join(root, 'cliscale-chart')
  if (!existsSync(chart)) throw new Unready('There is no cliscale-chart in this tree.')
  const args = ['upgrade', '--install', RELEASE, chart, '-n', NAMESPACE, '--wait', '--timeout', '5m']
  // What somebody changed by hand is set back.
  args.push('--force-conflicts')
  const values = ['--values', path.join(root, 'e2e/cluster/values.yaml'), '--values', '-']
  const images = { ...state.images, custom: imageName('custom', state) }
  await run('helm', [...args, ...values], {
    env: clusterEnv(state),
    // Sessions are told of an image that is built meanwhile.
    input: JSON.stringify(deployValues({ ...state, images }, certificate(state))),
    seconds: 360,
  }).catch(async (error) => {
    throw new Unready(`${error.message}\n${await whatIsNotReady(state)}`)
  })
}

/** The last words of each process that does not come up: a chart that waits in vain does not say them. */
async function whatIsNotReady(state) {
  const { items } = await kubectlJson(state, ['get', 'pods', '-n', NAMESPACE])
  const stuck = items.filter(({ status }) =>
    status.containerStatuses?.some((each) => !each.ready && !each.state.terminated),
  )
  const said = stuck.map(async ({ metadata }) => {
    const logs = await kubectl(state, ['logs', '-n', NAMESPACE, metadata.name, '--tail=5']).catch(
      (error) => error.message,
    )
    return `${metadata.name} is not ready:\n${logs}`
  })
  return (await Promise.all(said)).join('\n')
}

/** The certificate of the simulated internet's authority, which sessions trust here. */
function certificate(state) {
  const file = path.join(runFolder(state), 'pki/ca.crt')
  return !isForeign() && existsSync(file) ? readFileSync(file, 'utf8') : undefined
}

async function addressOf(state) {
  for (let tries = 0; tries < 60; tries++) {
    const ingress = await kubectlJson(state, ['get', 'ingress', 'cliscale-ingress', '-n', NAMESPACE])
    const [first] = ingress.status?.loadBalancer?.ingress ?? []
    if (first) return `http://${first.ip ?? first.hostname}`
    await sleep(1000)
  }
  throw new Unready(
    `The Ingress has no address after a minute: kubectl describe ingress cliscale-ingress -n ${NAMESPACE}`,
  )
}

async function untilReady(address) {
  let last = ''
  for (let tries = 0; tries < 120; tries++) {
    const answer = await fetch(`${address}/readyz`, { signal: AbortSignal.timeout(2000) }).catch((error) => error)
    if (answer.ok) return
    last = answer.status ? `it answers ${answer.status}` : String(answer.cause ?? answer)
    await sleep(500)
  }
  throw new Unready(`${address}/readyz is not ready after a minute (${last}).`)
}

function tell(state) {
  const prefix = isForeign() ? '' : `eval "$(${path.relative(root, state.clusterFolder)}/env)"   # kubectl and helm\n`
  console.log(`
CLI Scale runs at ${state.address}

${prefix}export API_KEY=$(kubectl get secret cliscale-api-key -n ${NAMESPACE} -o jsonpath='{.data.API_KEY}' | base64 -d)
curl -X POST ${state.address}/api/sessions -H "Authorization: Bearer $API_KEY" -H 'Content-Type: application/json' \\
  -d '{"command": "for i in 1 2 3; do echo hello $i; sleep 1; done"}'

npm run e2e        # the suite
npm run e2e:down   # away with it`)
}
