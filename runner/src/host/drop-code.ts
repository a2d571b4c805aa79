import { constants } from 'node:fs'
import { open, readdir, rm, rmdir } from 'node:fs/promises'
import type { Logger } from '@cliscale/service-kit'

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = constants

/**
 * Removes the folder that the code was unpacked to, of which work has its copy. The command may already run, and may
 * write where this folder stands: so it is emptied through a descriptor of it, and nothing of what may be put in its
 * place is touched. What cannot be removed takes room, and nothing else.
 */
export async function dropCode(folder: string, logger: Logger): Promise<void> {
  try {
    await using handle = await open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    // In a folder of the command's own, what lies deeper could be exchanged too.
    if ((await handle.stat()).uid !== process.geteuid?.()) throw new Error('the folder is not ours')
    const inside = process.platform === 'linux' ? `/proc/self/fd/${handle.fd}` : folder
    for (const name of await readdir(inside)) await rm(`${inside}/${name}`, { recursive: true, maxRetries: 3 })
    await rmdir(folder)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT') logger.warn({ code }, 'the staged code could not be removed')
  }
}
