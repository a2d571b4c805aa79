import path from 'node:path'
import { toolHomesOf } from '@cliscale/contract'
import { parseEnv } from '@cliscale/service-kit'
import { z } from 'zod'

const absolute = z.string().startsWith('/', { error: 'must be an absolute path' })

export const WorkEnv = z.object({
  CLISCALE_WORK_SOCKET: absolute.max(107, { error: 'must be at most 107 bytes, the limit of Unix sockets' }),
  CLISCALE_WORKSPACE_DIR: absolute,
  CLISCALE_HOME_DIR: absolute,
  /** The command's TMPDIR; without it a folder in its home. */
  CLISCALE_TMP_DIR: absolute.optional(),
  /** Where another user puts the code: it is copied into the workspace, so that it belongs to the command's user. */
  CLISCALE_CODE_DIR: absolute.optional(),
})

/** work's configuration. Throws ConfigError. */
export function readWorkConfig(env: NodeJS.ProcessEnv) {
  const values = parseEnv(WorkEnv, env)
  return {
    socketPath: values.CLISCALE_WORK_SOCKET,
    workspaceDir: values.CLISCALE_WORKSPACE_DIR,
    homeDir: values.CLISCALE_HOME_DIR,
    tmpDir: values.CLISCALE_TMP_DIR ?? path.join(values.CLISCALE_HOME_DIR, 'tmp'),
    codeDir: values.CLISCALE_CODE_DIR,
    // For the command: an operator who trusts further certificates does so for sessions too.
    extraCaCerts: env['NODE_EXTRA_CA_CERTS'],
    // Of the machine, or of an image that brings such a tool.
    toolHomes: toolHomesOf(env),
  }
}
