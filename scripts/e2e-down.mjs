/**
 * `npm run e2e:down`: takes away what `e2e:up` made: release, namespaces, database, and the cluster where `e2e:up`
 * started it.
 */
import path from 'node:path'
import {
  clusterEnv,
  forgetState,
  kubectl,
  NAMESPACE,
  readState,
  RELEASE,
  run,
  SESSIONS_NAMESPACE,
} from './e2e/cluster.mjs'
import { runScript } from './prepare.mjs'
import { dropDatabase } from './e2e/postgres.mjs'
import { step } from './steps.mjs'

runScript(async () => {
  const state = readState()
  if (!state) {
    console.log('There is nothing of e2e:up here.')
    return
  }
  if (state.startedCluster)
    await step('Cluster', () => run(path.join(state.clusterFolder, 'down'), [], { seconds: 120 }))
  else await cleanUp(state)
  forgetState()
})

async function cleanUp(state) {
  const options = { env: clusterEnv(state), seconds: 300 }
  await step('Release', () =>
    run('helm', ['uninstall', RELEASE, '-n', NAMESPACE, '--ignore-not-found', '--wait'], options),
  )
  await step('Namespaces', () =>
    kubectl(state, ['delete', 'namespace', NAMESPACE, SESSIONS_NAMESPACE, '--ignore-not-found', '--timeout=120s'], {
      seconds: 150,
    }),
  )
  await step('Database', () => dropDatabase(state))
}
