import { execFile } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** A user of the system that PostgreSQL's processes run as. */
export interface Account {
  readonly name: string
  readonly uid: number
  readonly gid: number
}

/**
 * Whom PostgreSQL runs as: undefined for ourselves; when we are root, which PostgreSQL refuses, the system's
 * `postgres` user or else `nobody`. No user is created.
 */
export async function postgresAccount(): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined
  for (const name of ['postgres', 'nobody']) {
    const ids = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])]).catch(() => undefined)
    if (ids !== undefined) return { name, uid: Number(ids[0].stdout), gid: Number(ids[1].stdout) }
  }
  throw new Error('PostgreSQL does not run as root and there is no user "postgres" or "nobody". Start as another user.')
}

/** The first folder on the way to `dir` that the account may not enter, or undefined. */
export async function firstClosedFolder(dir: string, account: Account): Promise<string | undefined> {
  const folders: string[] = []
  for (let at = path.resolve(dir); at !== path.dirname(at); at = path.dirname(at)) folders.unshift(at)
  for (const folder of folders) {
    const open = await run('test', ['-x', folder], { uid: account.uid, gid: account.gid, cwd: '/' }).then(
      () => true,
      () => false,
    )
    if (!open) return folder
  }
  return undefined
}
