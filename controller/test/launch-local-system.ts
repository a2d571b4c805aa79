import { mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { createLogger } from '@cliscale/service-kit'
import type { Launcher } from '../src/launch/launcher.ts'
import type { LocalLauncherOptions } from '../src/launch/local/launcher-options.ts'
import { createLocalLauncher } from '../src/launch/local/local-launcher.ts'
import { createProcessTable } from '../src/launch/local/process-table.ts'
import { type LaunchRecord, sessionFolder, type SessionFolder } from '../src/launch/local/session-folder.ts'
import type { LauncherUnderTest } from './launch-contract.ts'

const programs = fileURLToPath(new URL('launch-programs/', import.meta.url))

/** The local launcher in a folder of its own, with small programs in the place of host and work. */
export interface LocalSystem extends LauncherUnderTest {
  readonly options: LocalLauncherOptions
  folder(sessionId: string): SessionFolder
  record(sessionId: string): Promise<LaunchRecord>
  /** Pids of all processes of the session. */
  running(sessionId: string): Promise<number[]>
}

export const processes = createProcessTable()

/** Starts one; `dispose` removes its sessions and its folder. */
export async function createLocalSystem(extra: Partial<LocalLauncherOptions> = {}): Promise<LocalSystem> {
  const dataDir = await mkdtemp(path.join(os.tmpdir(), 'cliscale-launch-'))
  const options: LocalLauncherOptions = {
    dataDir,
    runDir: path.join(dataDir, 'run'),
    hostProgram: path.join(programs, 'host.mjs'),
    workProgram: path.join(programs, 'work.mjs'),
    controllerUrl: 'http://127.0.0.1:9',
    environment: { PATH: process.env['PATH'] ?? '' },
    logger: createLogger({ service: 'test', level: 'silent' }),
    pollMs: 100,
    termGraceMs: 500,
    ...extra,
  }
  let launcher = await createLocalLauncher(options)
  const all: Launcher[] = [launcher]
  const folder = (id: string): SessionFolder => sessionFolder(options.dataDir, options.runDir, id)
  const record = async (id: string): Promise<LaunchRecord> =>
    JSON.parse(await readFile(folder(id).record, 'utf8')) as LaunchRecord
  const running = async (sessionId: string): Promise<number[]> =>
    (await processes.ofSession({ sessionId, programs: [options.hostProgram, options.workProgram] })).map((m) => m.pid)
  return {
    options,
    launcher,
    folder,
    record,
    running,
    restart: async () => {
      launcher = await createLocalLauncher(options)
      all.push(launcher)
      return launcher
    },
    tokenOf: (id) => readFile(folder(id).identity, 'utf8'),
    hostGeneration: async (id) => {
      const port = (await launcher.list()).find((entry) => entry.sessionId === id)?.address?.port
      return port === undefined ? undefined : String(port)
    },
    countRunning: async (id) => (await running(id)).length,
    endHost: async (id, how) => {
      if (how === 'SIGKILL') return void process.kill((await record(id)).host!.pid, 'SIGKILL')
      const file = path.join(folder(id).spool, 'exit')
      await writeFile(`${file}.new`, String(how))
      await rename(`${file}.new`, file)
    },
    dispose: async () => {
      const ids = await readdir(path.join(dataDir, 'sessions'))
      await Promise.all(ids.map((id) => launcher.remove(id)))
      for (const one of all) await one.close()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}
