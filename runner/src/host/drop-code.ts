import { rm } from 'node:fs/promises'
import type { Logger } from '@cliscale/service-kit'

/**
 * Removes the folder that the code was unpacked to, of which work has its copy. It is not followed if it is a link. What
 * cannot be removed takes room, and nothing else.
 */
export async function dropCode(folder: string, logger: Logger): Promise<void> {
  try {
    await rm(folder, { recursive: true, force: true, maxRetries: 3 })
  } catch (error) {
    logger.warn({ code: (error as NodeJS.ErrnoException).code }, 'the staged code could not be removed')
  }
}
