import os from 'node:os'
import path from 'node:path'
import type { PreparedOrder } from '../relay/messages.ts'

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** work's own search path, with the folder of this Node, so that `node` and `npm` are always found. */
function searchPath(own: string | undefined): string {
  const folders = (own === undefined || own === '' ? DEFAULT_PATH : own).split(':')
  const node = path.dirname(process.execPath)
  return (folders.includes(node) ? folders : [...folders, node]).join(':')
}

function userName(): string {
  try {
    return os.userInfo().username
  } catch {
    return 'user' // a uid without a row in /etc/passwd, as images often have
  }
}

/**
 * The whole environment of a session's command: these names, the order's, and nothing of work's own. What CLI Scale
 * promises (session id, prompt) cannot be overridden by the order.
 */
export function commandEnvironment(options: {
  readonly order: PreparedOrder
  readonly homeDir: string
  readonly tmpDir: string
  readonly bash: string
  readonly ownPath: string | undefined
  /** work's own NODE_EXTRA_CA_CERTS. */
  readonly extraCaCerts: string | undefined
  /** Variables of version managers, from work's own environment. */
  readonly toolHomes: Readonly<Record<string, string>>
}): Record<string, string> {
  const { order } = options
  return {
    PATH: searchPath(options.ownPath),
    HOME: options.homeDir,
    USER: userName(),
    LANG: process.platform === 'darwin' ? 'en_US.UTF-8' : 'C.UTF-8',
    SHELL: options.bash,
    TERM: 'xterm-256color',
    COLORTERM: 'truecolor',
    TMPDIR: options.tmpDir,
    ...(options.extraCaCerts ? { NODE_EXTRA_CA_CERTS: options.extraCaCerts } : {}),
    ...options.toolHomes,
    ...order.env,
    CLISCALE_SESSION_ID: order.sessionId,
    ...(order.prompt === null ? {} : { PROMPT: order.prompt, CLISCALE_PROMPT: order.prompt }),
  }
}
