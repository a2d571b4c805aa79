import { randomBytes } from 'node:crypto'
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { SESSION_ID_PATTERN } from '@cliscale/contract'
import { z } from 'zod'
import type { Address } from '../launcher.ts'

/** Folders of all sessions, in the data folder. */
export const SESSIONS = 'sessions'
export const LAUNCHES = 'launches'

/**
 * Where a session's files lie, all for the owner only. Its program runs as the same user: it is shown `root` and `tmp`,
 * and what we go by lies in `state`, of which it is told nothing.
 */
export interface SessionFolder {
  readonly root: string
  readonly workspace: string
  readonly home: string
  /** The command's TMPDIR; elsewhere and short, because programs make Unix sockets in it, some of them two folders down. */
  readonly tmp: string
  readonly state: string
  readonly record: string
  readonly identity: string
  readonly endpoint: string
  readonly spool: string
  /** Unix socket that work listens on; elsewhere, because its path may have 107 bytes at most. */
  readonly workSocket: string
}

const mark = z.object({ pid: z.int().min(2), start: z.string() }).nullable()

/** What must outlive the server: written before and after each step of a launch. */
const LaunchRecord = z.object({
  version: z.literal(1),
  sessionId: z.string().regex(SESSION_ID_PATTERN),
  podUid: z.uuid(),
  /** SHA-256 of the identity token, in hex. */
  tokenHash: z.string().regex(/^[0-9a-f]{64}$/),
  /** Whether its work has a control group. */
  limited: z.boolean(),
  /** null before it was started for the first time. */
  work: mark,
  host: mark,
  /** Set before anything is killed or cleared away, so that an interrupted removal is taken up again. */
  removing: z.boolean(),
})
export type LaunchRecord = Readonly<z.infer<typeof LaunchRecord>>

/** Where the files of a session lie. */
export function sessionFolder(dataDir: string, runDir: string, sessionId: string): SessionFolder {
  const root = path.join(dataDir, SESSIONS, sessionId)
  const state = path.join(dataDir, LAUNCHES, sessionId)
  return {
    root,
    workspace: path.join(root, 'workspace'),
    home: path.join(root, 'home'),
    // 44 random bits of the id in nine characters at most, so that 32 of a socket's path are left to the program.
    tmp: path.join(runDir, parseInt(sessionId.slice(-11), 16).toString(36)),
    state,
    record: path.join(state, 'launch.json'),
    identity: path.join(state, 'identity'),
    endpoint: path.join(state, 'endpoint.json'),
    spool: path.join(state, 'spool'),
    workSocket: path.join(runDir, `${sessionId}.work`),
  }
}

/** Makes the folders of a session; those that are there stay. */
export async function makeSessionFolder(folder: SessionFolder): Promise<void> {
  for (const dir of [folder.state, folder.spool, folder.root, folder.workspace, folder.home, folder.tmp]) {
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

/** The record of a session's launch; undefined when there is none that can be read, or it is another's. */
export async function readLaunchRecord(file: string, sessionId: string): Promise<LaunchRecord | undefined> {
  const record = LaunchRecord.safeParse(await readJson(file)).data
  return record?.sessionId === sessionId ? record : undefined
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

async function readJson(file: string): Promise<unknown> {
  try {
    const value: unknown = JSON.parse(await readFile(file, 'utf8'))
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}
