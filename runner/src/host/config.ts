import { hostGraceSeconds, POD_LIMITS, START_LIMITS } from '@cliscale/contract'
import { parseEnv, wholeNumber } from '@cliscale/service-kit'
import { z } from 'zod'

const absolute = z.string().startsWith('/', { error: 'must be an absolute path' })
const LISTEN_ERROR = 'must be <address>:<port>, such as 127.0.0.1:0'

export const HostEnv = z.object({
  CLISCALE_CONTROLLER_URL: z
    .string()
    .regex(/^(https?:\/\/[^/?#]+\/?|unix:\/.+)$/, { error: 'must be http://<host>:<port> or unix:<absolute path>' }),
  CLISCALE_IDENTITY_TOKEN_FILE: absolute,
  CLISCALE_SPOOL_DIR: absolute,
  CLISCALE_SPOOL_MAX_BYTES: wholeNumber(64 * 1024, 1024 ** 4).default(1024 ** 3),
  CLISCALE_WORKSPACE_DIR: absolute,
  CLISCALE_WORK_SOCKET: absolute.max(107, { error: 'must be at most 107 bytes, the limit of Unix sockets' }),
  CLISCALE_LISTEN: z
    .string()
    .regex(/^(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-fA-F:]+\]):\d{1,5}$/, { error: LISTEN_ERROR })
    .default('127.0.0.1:0')
    .transform((text) => {
      const colon = text.lastIndexOf(':')
      return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) }
    })
    .refine(({ port }) => port <= 65_535, { error: LISTEN_ERROR }),
  CLISCALE_ENDPOINT_FILE: absolute,
  /** Where Kubernetes takes a container's termination message from; the session's end is written there as JSON. */
  CLISCALE_TERMINATION_MESSAGE_FILE: absolute.optional(),
  /** How long a host that is told to end reports and serves a session that is over; below its pod's grace period. */
  CLISCALE_END_GRACE_SECONDS: wholeNumber(1, 3600).default(hostGraceSeconds(POD_LIMITS.graceSeconds)),
  /** How long the install command may take. `timeout_seconds` counts only from the start of the command. */
  CLISCALE_INSTALL_LIMIT_SECONDS: wholeNumber(1, 24 * 3600).default(START_LIMITS.installSeconds),
})

/** The host's configuration. Throws ConfigError. */
export function readHostConfig(env: NodeJS.ProcessEnv) {
  const values = parseEnv(HostEnv, env)
  return {
    controllerUrl: values.CLISCALE_CONTROLLER_URL,
    identityTokenFile: values.CLISCALE_IDENTITY_TOKEN_FILE,
    spoolDir: values.CLISCALE_SPOOL_DIR,
    spoolMaxBytes: values.CLISCALE_SPOOL_MAX_BYTES,
    workspaceDir: values.CLISCALE_WORKSPACE_DIR,
    workSocket: values.CLISCALE_WORK_SOCKET,
    listen: values.CLISCALE_LISTEN,
    endpointFile: values.CLISCALE_ENDPOINT_FILE,
    terminationMessageFile: values.CLISCALE_TERMINATION_MESSAGE_FILE,
    endGraceMs: values.CLISCALE_END_GRACE_SECONDS * 1000,
    installLimitSeconds: values.CLISCALE_INSTALL_LIMIT_SECONDS,
  }
}
export type HostConfig = ReturnType<typeof readHostConfig>
