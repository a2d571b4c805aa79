import { access } from 'node:fs/promises'
import path from 'node:path'

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  )
}

/**
 * The install command of an order: the given one, or by the files that are there: `npm ci` beside a lock file,
 * `npm install` beside a package.json. Undefined: nothing to install (also for an empty one).
 */
export async function chooseInstall(installCmd: string | null, folder: string): Promise<string | undefined> {
  if (installCmd !== null) return installCmd.trim() === '' ? undefined : installCmd
  if (await exists(path.join(folder, 'package-lock.json'))) return 'npm ci'
  if (await exists(path.join(folder, 'npm-shrinkwrap.json'))) return 'npm ci'
  return (await exists(path.join(folder, 'package.json'))) ? 'npm install' : undefined
}
