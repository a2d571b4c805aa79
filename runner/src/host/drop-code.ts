import { type Logger, removeTree } from '@cliscale/service-kit'

/**
 * Removes the folder that the code was unpacked to, of which work has its copy. The command may already run, and may
 * write where this folder stands. What cannot be removed takes room, and nothing else.
 */
export async function dropCode(folder: string, logger: Logger): Promise<void> {
  try {
    await removeTree(folder)
  } catch (error) {
    logger.warn({ why: (error as Error).message }, 'the staged code could not be removed')
  }
}
