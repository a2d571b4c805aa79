import { existsSync } from 'node:fs'
import { mkdir, readdir, rename, rmdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { removeTree } from '@cliscale/service-kit'

/** A place of its own for what is fetched, on the file system of the target; removed on dispose. */
export interface Staging extends AsyncDisposable {
  /** Path for the downloaded file. */
  readonly download: string
  /** An empty folder for what is unpacked. */
  readonly tree: string
  /** A folder for files of ours. */
  readonly scratch: string
  /** Makes everything as it was at the beginning, for another try. */
  reset(): Promise<void>
  /** Whether names that differ only in case are those of two files here. */
  readonly tellsCaseApart: boolean
  /** Makes what lies in a folder of the staging area the whole content of the target. */
  moveToTarget(from: string): Promise<void>
}

/**
 * Opens the staging area beside the target, or inside it where the target is a mount of its own. What an earlier life
 * left in either is removed.
 */
export async function openStaging(targetDir: string): Promise<Staging> {
  await mkdir(targetDir, { recursive: true })
  const folder = await createBeside(targetDir)
  await emptyFolder(targetDir, folder)
  const tree = path.join(folder, 'tree')
  await mkdir(tree)
  const probe = path.join(folder, 'Case')
  await mkdir(probe)
  const tellsCaseApart = !existsSync(path.join(folder, 'case'))
  await rmdir(probe)
  return {
    tellsCaseApart,
    download: path.join(folder, 'download'),
    tree,
    scratch: folder,
    async reset() {
      for (const name of await readdir(folder)) await removeTree(path.join(folder, name))
      await mkdir(tree)
    },
    async moveToTarget(from) {
      for (const name of await readdir(from)) await rename(path.join(from, name), path.join(targetDir, name))
    },
    [Symbol.asyncDispose]: () => removeTree(folder),
  }
}

async function createBeside(targetDir: string): Promise<string> {
  const beside = path.join(path.dirname(targetDir), `.${path.basename(targetDir)}.fetch`)
  const [target, parent] = await Promise.all([stat(targetDir), stat(path.dirname(targetDir))])
  if (target.dev === parent.dev) {
    try {
      await removeTree(beside)
      await mkdir(beside, { mode: 0o700 })
      return beside
    } catch (error) {
      if (!['EACCES', 'EPERM', 'EROFS'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
    }
  }
  const inside = path.join(targetDir, '.cliscale.fetch')
  await removeTree(inside)
  await mkdir(inside, { mode: 0o700 })
  return inside
}

async function emptyFolder(folder: string, except: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const child = path.join(folder, name)
    if (child !== except) await removeTree(child)
  }
}
