import { createLocalLauncher } from '@cliscale/controller'
import { createLogger } from '@cliscale/service-kit'
import { sessionPlaces } from '../server/places.ts'
import type { Paths } from './data-dir.ts'

/**
 * Kills every session of a data folder whose server has gone. Its records are made right by the next start, which finds
 * the processes gone.
 */
export async function killSessions(paths: Paths): Promise<void> {
  const launcher = await createLocalLauncher({
    ...sessionPlaces({ dataDir: paths.root, runDir: paths.run, internalSocket: paths.internalSocket }),
    environment: { PATH: '' },
    termGraceMs: 0,
    logger: createLogger({ service: 'cliscale', level: 'silent' }),
  })
  try {
    const launches = await launcher.list()
    const ids = launches.flatMap(({ sessionId }) => sessionId ?? [])
    await Promise.allSettled(ids.map((sessionId) => launcher.remove(sessionId)))
  } finally {
    await launcher.close()
  }
}
