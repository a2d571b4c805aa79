import { opendir, stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { throwFaults } from './faults.ts'

/** Refuses a `code_url` whose folder cannot be copied from. @throws AppError `url_invalid` */
export type FolderCheck = (folder: string) => Promise<void>

const FAULTS: Readonly<Record<string, string>> = {
  ENOENT: 'names a folder that does not exist on this machine: correct the path, or create the folder first',
  ENOTDIR: 'is not the path of a folder: give the folder that the code is in; an archive has to be unpacked first',
  ELOOP: 'is a link that leads to itself: give the folder that the code is in',
  ENAMETOOLONG: 'is longer than a path can be: give the folder that the code is in',
  EACCES: 'names a folder that the server may not read: give its user the right to read and enter it',
  EPERM: 'names a folder that the server may not read: give its user the right to read and enter it',
}

/** How long a look may take, in milliseconds. A dead network drive never answers. */
const LOOK_MS = 2_000

/**
 * Makes a check that tells at once what the session's host would find out later. A folder about which nothing can be said
 * in time passes: the host looks again. Looks take turns, because each that gets no answer keeps one of the few threads
 * that read files.
 */
export function createFolderCheck(look = findFault): FolderCheck {
  let turn: Promise<unknown> = Promise.resolve()
  return async (folder) => {
    let isLate = false
    const found = turn.then(() => (isLate ? undefined : look(folder)))
    turn = found
    const message = await Promise.race([found, sleep(LOOK_MS, undefined, { ref: false })])
    isLate = true
    if (message !== undefined) throwFaults([{ code: 'url_invalid', path: 'code_url', message }])
  }
}

async function findFault(folder: string): Promise<string | undefined> {
  try {
    // The dot needs a folder, and the right to enter it.
    await stat(`${folder}/.`)
    await (await opendir(folder)).close()
    return undefined
  } catch (error) {
    // Whatever else the system says, such as too many open files, is not the caller's fault: the host looks again.
    return FAULTS[(error as NodeJS.ErrnoException).code ?? '']
  }
}
