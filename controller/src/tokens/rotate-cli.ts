/**
 * Replaces the signing key of a release once, so that no client notices (tokens/rotation.ts says how). It is run as a Job
 * from the suspended CronJob of the chart:
 *
 *   kubectl create job rotate-1 -n ws-cli --from=cronjob/cliscale-rotate-signing-key
 *
 * command   node controller/dist/tokens/rotate-cli.js
 * env       CLISCALE_SIGNING_KEY_SECRET, CLISCALE_SIGNING_KEY_NAMESPACE, CLISCALE_ROTATION_PUBLISH_SECONDS,
 *           CLISCALE_ROTATION_RETIRE_SECONDS (docs/config.md); KUBECONFIG outside of a cluster only
 * rights    get and update of that one Secret
 * takes     about 32 minutes; may be killed, repeated and run twice at once, and its pod may move
 * exit      0 done; 1 the cluster refuses or is away for long: run it again; 78 settings
 */
import { hostname } from 'node:os'
import { Backoff, ConfigError, EXIT_CONFIG, parseEnv } from '@cliscale/service-kit'
import { z } from 'zod'
import { ROTATION_ENV } from '../config.ts'
import { openKeySecret } from '../launch/kubernetes/signing-key-secret.ts'
import { type KeySecret, rotate } from './rotation.ts'

/** How long the cluster may be away. */
const AWAY_LIMIT_MS = 600_000

/** Calls that the cluster does not answer are repeated: none of them does harm twice. */
function patient(secret: KeySecret, say: (sentence: string) => void): KeySecret {
  const persist = async <T>(call: () => Promise<T>): Promise<T> => {
    const until = Date.now() + AWAY_LIMIT_MS
    const backoff = new Backoff(500, 15_000)
    for (;;) {
      try {
        return await call()
      } catch (error) {
        if ((error as Error).name !== 'LauncherUnavailable' || Date.now() > until) throw error
        say(`Waiting: ${(error as Error).message}.`)
        await backoff.wait()
      }
    }
  }
  return { read: () => persist(() => secret.read()), write: (keys) => persist(() => secret.write(keys)) }
}

async function main(): Promise<void> {
  const env = parseEnv(z.object(ROTATION_ENV), process.env)
  const say = (sentence: string): void => void process.stdout.write(`${new Date().toISOString()} ${sentence}\n`)
  const secret = openKeySecret({
    namespace: env.CLISCALE_SIGNING_KEY_NAMESPACE,
    name: env.CLISCALE_SIGNING_KEY_SECRET,
    kubeconfig: process.env['KUBECONFIG'] || undefined,
  })
  try {
    await rotate({
      secret: patient(secret, say),
      publishMs: env.CLISCALE_ROTATION_PUBLISH_SECONDS * 1000,
      retireMs: env.CLISCALE_ROTATION_RETIRE_SECONDS * 1000,
      // A container that is started again has the name of its pod, as before.
      by: hostname(),
      say,
    })
  } finally {
    secret.close()
  }
}

try {
  await main()
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`)
  process.exitCode = error instanceof ConfigError ? EXIT_CONFIG : 1
}
