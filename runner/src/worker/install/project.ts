import { execFile } from 'node:child_process'
import { access, constants, readFile, stat } from 'node:fs/promises'
import path from 'node:path'

/** More than such a file has; a larger one is taken as one that cannot be read. */
const MAX_BYTES = 16 * 1024 * 1024
const TOOL_ANSWER_MS = 10_000

/** What the top of a folder and the search path say about how its code is installed. */
export class Project {
  readonly folder: string
  readonly env: Readonly<Record<string, string>>

  /** `env` is the command's environment. */
  constructor(folder: string, env: Readonly<Record<string, string>>) {
    this.folder = folder
    this.env = env
  }

  /** Whether it has a file of this name. Links are followed; a folder is no file. */
  has(name: string): Promise<boolean> {
    return isFile(path.join(this.folder, name))
  }

  /** Those of the names that it has, in their order. */
  async filesOf<Name extends string>(names: readonly Name[]): Promise<Name[]> {
    const found = await Promise.all(names.map((name) => this.has(name)))
    return names.filter((_, i) => found[i])
  }

  /** The text of a file; undefined when there is none that can be read. */
  async text(name: string): Promise<string | undefined> {
    const file = path.join(this.folder, name)
    try {
      const found = await stat(file)
      // A pipe would be waited for, and a device may have no end.
      return !found.isFile() || found.size > MAX_BYTES
        ? undefined
        : (await readFile(file, 'utf8')).replace(/^\uFEFF/, '')
    } catch {
      return undefined
    }
  }

  /** Where the search path has a program. */
  async findTool(name: string): Promise<string | undefined> {
    for (const folder of (this.env['PATH'] ?? '').split(':')) {
      const file = path.resolve(this.folder, folder, name)
      if ((await isFile(file)) && (await isExecutable(file))) return file
    }
    return undefined
  }

  /** Whether a program is there and says its version: what version managers put into the search path may lead nowhere. */
  async canRun(name: string): Promise<boolean> {
    const file = await this.findTool(name)
    if (file === undefined) return false
    const options = { cwd: this.folder, env: { ...this.env }, timeout: TOOL_ANSWER_MS }
    return new Promise((resolve) => execFile(file, ['--version'], options, (error) => resolve(error === null)))
  }
}

function isFile(file: string): Promise<boolean> {
  return stat(file).then(
    (found) => found.isFile(),
    () => false,
  )
}

function isExecutable(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  )
}
