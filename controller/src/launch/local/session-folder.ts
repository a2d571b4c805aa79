import { randomBytes } from 'node:crypto'
import { chmod, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import type { Address } from '../launcher.ts'
import type { ProcessMark } from './process-table.ts'

/** Where a session's files lie. Everything under `root` is for the owner only. */
export interface SessionFolder {
  readonly root: string
  readonly record: string
  readonly identity: string
  readonly endpoint: string
  readonly spool: string
  readonly workspace: string
  readonly home: string
  /** Unix socket that work listens on; outside `root`, because its path may have 107 bytes at most. */
  readonly workSocket: string
}

/** What must outlive the server: written before and after each step of a launch. */
export interface LaunchRecord {
  readonly version: 1
  readonly sessionId: string
  readonly podUid: string
  /** SHA-256 of the identity token, in hex. */
  readonly tokenHash: string
  /** Folder of the memory limit; null when there is none. */
  readonly cgroup: string | null
  /** null before it was started for the first time. */
  readonly work: ProcessMark | null
  readonly host: ProcessMark | null
  /** Set before anything is killed or cleared away, so that an interrupted removal is taken up again. */
  readonly removing: boolean
}

/** Where the files of a session lie. */
export function sessionFolder(dataDir: string, runDir: string, sessionId: string): SessionFolder {
  const root = path.join(dataDir, 'sessions', sessionId)
  return {
    root,
    record: path.join(root, 'launch.json'),
    identity: path.join(root, 'identity'),
    endpoint: path.join(root, 'endpoint.json'),
    spool: path.join(root, 'spool'),
    workspace: path.join(root, 'workspace'),
    home: path.join(root, 'home'),
    workSocket: path.join(runDir, `${sessionId}.work`),
  }
}

/** Makes the folders of a session; those that are there stay. */
export async function makeSessionFolder(folder: SessionFolder): Promise<void> {
  for (const dir of [folder.root, folder.spool, folder.workspace, folder.home]) {
    await mkdir(dir, { recursive: true, mode: 0o700 })
  }
}

/** Writes a file so that a reader sees the old one or the new one, and a crash of the machine leaves one of them. */
export async function writeAtomically(file: string, text: string): Promise<void> {
  const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`
  try {
    const handle = await open(temporary, 'wx', 0o600)
    try {
      await handle.writeFile(text)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, file)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

/** The record of a launch; undefined when there is none that can be read. */
export async function readLaunchRecord(file: string): Promise<LaunchRecord | undefined> {
  const value = await readJson(file)
  const record = value as Partial<LaunchRecord> | undefined
  const whole = record?.version === 1 && typeof record.podUid === 'string' && typeof record.tokenHash === 'string'
  return whole ? (record as LaunchRecord) : undefined
}

/** Where the host says that it listens; undefined when it has not said so. */
export async function readEndpoint(file: string): Promise<Address | undefined> {
  const port = ((await readJson(file)) as { port?: unknown } | undefined)?.port
  return typeof port === 'number' && Number.isInteger(port) && port > 0 && port < 65_536
    ? { host: '127.0.0.1', port }
    : undefined
}

/** Whether a host that has ended left the sign that nothing is left to do. */
export async function isHostDone(file: string): Promise<boolean> {
  return ((await readJson(file)) as { done?: unknown } | undefined)?.done === true
}

/** Removes a folder with all that is in it, also folders that their owner may not write (a Go module cache has such). */
export async function removeTree(dir: string): Promise<void> {
  try {
    await rm(dir, { recursive: true, force: true })
  } catch (error) {
    if (!['EACCES', 'EPERM', 'ENOTEMPTY'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
    await openFolders(dir)
    await rm(dir, { recursive: true, force: true })
  }
}

async function openFolders(dir: string): Promise<void> {
  await chmod(dir, 0o700)
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    if (entry.isDirectory()) await openFolders(path.join(dir, entry.name))
  }
}

async function readJson(file: string): Promise<unknown> {
  try {
    const value: unknown = JSON.parse(await readFile(file, 'utf8'))
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}
