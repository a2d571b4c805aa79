import { createHash } from 'node:crypto'
import { access, chmod, mkdir, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { type Account, firstClosedFolder } from './account.ts'
import { stopLeftovers } from './leftovers.ts'

/** For data of folders that PostgreSQL's account may not enter: everybody may enter this one. */
const OUTSIDE = '/var/lib/cliscale-postgres'
/** In the data folder, a link to its place outside. Who deletes the data folder deletes it with all. */
const LINK = 'outside'

/**
 * Where PostgreSQL's files for `dataDir` lie: there; or, as root with a folder that PostgreSQL's account may not enter
 * (root's home, `mktemp -d`), under /var/lib with a link to it. Files outside whose data folder has gone are removed.
 *
 * @throws Error that names the closed folder, where neither is possible.
 */
export async function placeFor(dataDir: string, account: Account | undefined): Promise<string> {
  if (account === undefined) return dataDir
  await removeAbandoned()
  const outside = path.join(OUTSIDE, createHash('sha256').update(dataDir).digest('hex').slice(0, 24))
  const link = path.join(dataDir, LINK)
  if (await exists(link)) {
    await openOutside(outside)
    return outside
  }
  const closed = await firstClosedFolder(dataDir, account)
  if (closed === undefined) return dataDir
  const advice = `PostgreSQL runs as the user "${account.name}", who may not enter ${closed}. Run chmod o+x on that folder, or choose another data folder.`
  if (await exists(path.join(dataDir, 'data'))) throw new Error(advice)
  try {
    await mkdir(outside, { recursive: true })
    await openOutside(outside)
    // In this order: with a name and without a link it would look abandoned.
    await symlink(outside, link)
    await writeFile(path.join(outside, 'belongs-to'), dataDir)
    return outside
  } catch (cause) {
    throw new Error(advice, { cause })
  }
}

/** PostgreSQL's account has to get in, whatever the umask. */
async function openOutside(folder: string): Promise<void> {
  for (const each of [OUTSIDE, folder]) await chmod(each, 0o755)
}

async function removeAbandoned(): Promise<void> {
  for (const name of await readdir(OUTSIDE).catch(() => [])) {
    const place = path.join(OUTSIDE, name)
    const owner = await readFile(path.join(place, 'belongs-to'), 'utf8').catch(() => undefined)
    // One without a name is being made just now.
    if (owner === undefined || (await exists(path.join(owner, LINK)))) continue
    await stopLeftovers(path.join(place, 'data'))
    await rm(place, { recursive: true, force: true })
  }
}

function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  )
}
