import { createHash } from 'node:crypto'
import { constants, existsSync } from 'node:fs'
import { access, chmod, lstat, mkdir, readdir, realpath, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { UserError } from './user-error.ts'

/** Its presence says that a folder is one of ours, so that we never change somebody's home by mistake. */
const MARK = 'cliscale-data.json'

export interface Paths {
  readonly root: string
  /** Sockets: a folder of its own when the data folder's path is too long for them. */
  readonly run: string
  readonly postgres: string
  readonly secrets: string
  readonly apiKey: string
  readonly serverLog: string
  readonly internalSocket: string
  /** Which process serves; written by the supervisor, for one that comes after a kill. */
  readonly serverMark: string
}

/** Where the data lies when nobody says: /var/lib/cliscale for root, else the user's data folder (XDG, macOS). */
export function defaultDataDir(where: {
  uid: number | undefined
  platform: NodeJS.Platform
  home: string
  xdgDataHome: string | undefined
}): string {
  if (where.uid === 0) return '/var/lib/cliscale'
  if (where.platform === 'darwin') return path.join(where.home, 'Library/Application Support/cliscale')
  // The XDG specification says to ignore a relative path.
  const base = where.xdgDataHome !== undefined && path.isAbsolute(where.xdgDataHome) ? where.xdgDataHome : undefined
  return path.join(base ?? path.join(where.home, '.local/share'), 'cliscale')
}

/**
 * Makes the data folder and those in it, for the owner only; as root others may pass through it, because PostgreSQL
 * runs as another user.
 *
 * @throws UserError when the folder is somebody else's, holds other things, or cannot be made.
 */
export async function openDataDir(dir: string, uid = process.getuid?.() ?? 0): Promise<Paths> {
  try {
    await makeFolder(dir)
    const root = await realpath(dir)
    await checkIsOurs(root, uid)
    await chmod(root, uid === 0 ? 0o711 : 0o700)
    await writeFile(path.join(root, MARK), '{"version":1}\n', { mode: 0o600 })
    const run = await makeRunDir(root, uid)
    const secrets = path.join(root, 'secrets')
    await mkdir(secrets, { recursive: true, mode: 0o700 })
    return {
      root,
      run,
      postgres: path.join(root, 'postgres'),
      secrets,
      apiKey: path.join(root, 'api-key'),
      serverLog: path.join(root, 'server.log'),
      internalSocket: path.join(run, 'internal.sock'),
      serverMark: path.join(root, 'server.json'),
    }
  } catch (error) {
    if (error instanceof UserError) throw error
    throw new UserError(`The data folder ${dir} cannot be used: ${(error as Error).message}. ${CHOOSE}`)
  }
}

/** A folder and those above it. On a disk that is read-only `recursive` says ENOENT, as if something were missing. */
async function makeFolder(dir: string): Promise<void> {
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    let above = dir
    while (above !== path.dirname(above) && !existsSync(above)) above = path.dirname(above)
    await access(above, constants.W_OK)
    throw error
  }
}

const CHOOSE = 'Choose another one with CLISCALE_DATA_DIR.'

async function checkIsOurs(root: string, uid: number): Promise<void> {
  const owner = (await stat(root)).uid
  if (owner !== uid) throw new UserError(`The data folder ${root} belongs to another user. ${CHOOSE}`)
  const names = await readdir(root)
  if (names.length > 0 && !names.includes(MARK))
    throw new UserError(`The folder ${root} contains other things and is not a data folder of CLI Scale. ${CHOOSE}`)
}

/** A Unix socket's path may have 103 bytes (macOS) and a session's socket is named `<uuid>.work`. */
const LONGEST_RUN_DIR = 103 - '/00000000-0000-0000-0000-000000000000.work'.length

/** The same for the same data folder, whatever the environment: sessions that outlived a crash have their sockets there. */
async function makeRunDir(root: string, uid: number): Promise<string> {
  const near = path.join(root, 'run')
  const hash = createHash('sha256').update(root).digest('hex').slice(0, 16)
  const dir = Buffer.byteLength(near) <= LONGEST_RUN_DIR ? near : `/tmp/cliscale-${uid}-${hash}`
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const made = await lstat(dir)
  // In the shared temporary folder somebody else may have made it first, or a link in its place.
  if (!made.isDirectory() || made.uid !== uid)
    throw new UserError(`${dir} is not a folder of ours; remove it. ${CHOOSE}`)
  await chmod(dir, 0o700)
  return dir
}
