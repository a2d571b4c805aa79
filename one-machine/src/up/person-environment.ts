import { stat } from 'node:fs/promises'
import path from 'node:path'
import { TOOL_HOMES, toolHomesOf } from '@cliscale/contract'

/** What programs need to be found and to speak, and nothing of ours. */
const NAMES = ['HOME', 'USER', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR', 'SHELL', 'NODE_EXTRA_CA_CERTS'] as const

/** The part of a person's environment that the server gets, as it was before npm started us. */
export async function personEnvironment(env: NodeJS.ProcessEnv): Promise<NodeJS.ProcessEnv> {
  const kept = NAMES.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]] as const]))
  const searchPath = pathBeforeNpm(env)
  return {
    ...(searchPath === undefined ? {} : { PATH: searchPath }),
    ...Object.fromEntries(kept),
    ...(await toolHomesIn(env['HOME'])),
    ...toolHomesOf(env),
  }
}

/**
 * PATH without what npm (or pnpm) put before it to run a script: `node_modules/.bin` of the package and of the folders
 * above it, and a last folder called node-gyp-bin. A person's own `node_modules/.bin` stands behind that, and stays.
 */
export function pathBeforeNpm(env: NodeJS.ProcessEnv): string | undefined {
  if (env['npm_execpath'] === undefined) return env['PATH']
  const folders = env['PATH']?.split(':') ?? []
  const isOfNpm = (folder: string): boolean => folder.endsWith('/node_modules/.bin') || isLast(folder)
  const isLast = (folder: string): boolean => path.basename(folder) === 'node-gyp-bin'
  const first = folders.findIndex((folder) => !isOfNpm(folder))
  const end = folders.slice(0, first === -1 ? folders.length : first).findLastIndex(isLast)
  return env['PATH'] === undefined ? undefined : folders.slice(end + 1).join(':')
}

/** The folders of version managers that are there although no variable names them. */
async function toolHomesIn(home: string | undefined): Promise<Record<string, string>> {
  if (!home) return {}
  const places = Object.entries(TOOL_HOMES).map(([name, place]) => [name, path.join(home, place)] as const)
  const found = await Promise.all(places.map(([, place]) => isFolder(place)))
  return Object.fromEntries(places.filter((_, i) => found[i]))
}

function isFolder(place: string): Promise<boolean> {
  return stat(place).then(
    (found) => found.isDirectory(),
    () => false,
  )
}
