/**
 * Variables that say where a version manager keeps what it manages, each with its place in a home folder. What such a
 * manager puts into PATH looks there, and a session's HOME is another one. They name folders to read from; what a tool
 * downloads or is told in confidence (CARGO_HOME, caches, settings) stays each session's own.
 */
export const TOOL_HOMES = {
  RUSTUP_HOME: '.rustup',
  PYENV_ROOT: '.pyenv',
  UV_PYTHON_INSTALL_DIR: '.local/share/uv/python',
  NVM_DIR: '.nvm',
  VOLTA_HOME: '.volta',
  RBENV_ROOT: '.rbenv',
  ASDF_DIR: '.asdf',
  ASDF_DATA_DIR: '.asdf',
} as const

/** Those of them that an environment has. */
export function toolHomesOf(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const names = Object.keys(TOOL_HOMES)
  return Object.fromEntries(names.flatMap((name) => (env[name] ? [[name, env[name]]] : [])))
}
