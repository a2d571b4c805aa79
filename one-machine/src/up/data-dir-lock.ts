import { randomBytes } from 'node:crypto'
import { link, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { isRunning, markOf, type ProcessMark } from '@cliscale/service-kit/process-mark'
import { UserError } from './user-error.ts'

interface Holder extends ProcessMark {
  readonly address: string
}

/**
 * Takes the data folder for this process, for as long as it runs; nothing has to be released.
 *
 * Locks are numbered: `lock.7` belongs to whoever could make it, and the highest number counts. A lock whose process has
 * gone is followed by the next number, never replaced, so of several that find a stale lock at once just one wins. Lower
 * ones are removed; the highest never is, so numbers only grow.
 *
 * @throws UserError that names the process and the address of the one that holds it.
 */
export async function lockDataDir(root: string, address: string): Promise<void> {
  const self = await markOf(process.pid)
  if (self === undefined) throw new Error('this process cannot see itself')
  const draft = path.join(root, `.lock-${process.pid}-${randomBytes(4).toString('hex')}`)
  await writeFile(draft, JSON.stringify({ ...self, address } satisfies Holder), { mode: 0o600, flag: 'wx' })
  try {
    for (;;) {
      const highest = Math.max(0, ...(await lockNumbers(root)))
      const holder = await readHolder(root, highest)
      if (holder !== undefined && (await isRunning(holder))) throw held(root, holder)
      // A link appears with its content, where writing a new file would show it empty first.
      if (await makeLink(draft, lockFile(root, highest + 1))) {
        const now = await lockNumbers(root)
        if (Math.max(...now) === highest + 1) return await removeLower(root, now, highest + 1)
        // We were slow: others have come and gone meanwhile, and numbers above ours are there.
        await rm(lockFile(root, highest + 1), { force: true })
      }
    }
  } finally {
    await rm(draft, { force: true })
  }
}

function held(root: string, holder: Holder): UserError {
  return new UserError(
    `CLI Scale already runs on the data folder ${root}: process ${holder.pid}, at ${holder.address}. Stop it first, or choose another folder with CLISCALE_DATA_DIR and another port with CLISCALE_PORT.`,
  )
}

function lockFile(root: string, number: number): string {
  return path.join(root, `lock.${number}`)
}

async function lockNumbers(root: string): Promise<number[]> {
  return (await readdir(root)).flatMap((name) => {
    const match = /^lock\.(\d{1,9})$/.exec(name)
    return match === null ? [] : [Number(match[1])]
  })
}

async function readHolder(root: string, number: number): Promise<Holder | undefined> {
  try {
    const value = JSON.parse(await readFile(lockFile(root, number), 'utf8')) as Partial<Holder>
    if (typeof value.pid !== 'number' || typeof value.start !== 'string') return undefined
    return { pid: value.pid, start: value.start, address: String(value.address) }
  } catch {
    return undefined
  }
}

async function makeLink(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

async function removeLower(root: string, numbers: readonly number[], ours: number): Promise<void> {
  for (const number of numbers) if (number < ours) await rm(lockFile(root, number), { force: true })
}
