import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { LocalLauncherOptions } from '@cliscale/controller'

/** The folder of one of our packages. Its entry lies in `dist`. */
export function packageDir(name: string): string {
  return path.resolve(path.dirname(fileURLToPath(import.meta.resolve(name))), '..')
}

/** Where the sessions of a data folder are, and what runs them. */
export function sessionPlaces(where: {
  dataDir: string
  runDir: string
  internalSocket: string
}): Pick<LocalLauncherOptions, 'dataDir' | 'runDir' | 'hostProgram' | 'workProgram' | 'controllerUrl'> {
  const runner = packageDir('@cliscale/runner')
  return {
    dataDir: where.dataDir,
    runDir: where.runDir,
    hostProgram: path.join(runner, 'dist/programs/host.js'),
    workProgram: path.join(runner, 'dist/programs/work.js'),
    controllerUrl: `unix:${where.internalSocket}`,
  }
}
