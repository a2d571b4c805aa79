import { nodePart } from './node.ts'
import { type InstallPart, NOTHING } from './part.ts'
import { Project } from './project.ts'
import { pythonPart, remark } from './python.ts'

/** What further tools install, and how an install_cmd says so. Go, Rust, Deno and Java fetch what they need at the run. */
const OTHERS = { Gemfile: 'bundle install', 'composer.json': 'composer install', 'mix.exs': 'mix deps.get' } as const

/**
 * What is installed before an order's command: its own install command, nothing for an empty one, and without one what
 * the files at the top of `folder` ask for, each by the tool that they are for. Python comes before Node, so that what
 * the scripts of packages call `pip` is that of the project's own `.venv`.
 *
 * `env` is the command's environment: tools are looked for in its PATH.
 */
export async function planInstall(
  installCmd: string | null,
  folder: string,
  env: Readonly<Record<string, string>>,
): Promise<InstallPart> {
  if (installCmd !== null) {
    const steps = installCmd.trim() === '' ? [] : [{ run: installCmd, shown: null, because: '' }]
    return { ...NOTHING, steps }
  }
  const project = new Project(folder, env)
  const parts = [await pythonPart(project), await nodePart(project), await otherPart(project)]
  const missing = parts.find((part) => part.missing !== undefined)?.missing
  return {
    steps: parts.flatMap((part) => part.steps),
    remarks: parts.flatMap((part) => part.remarks),
    pathFirst: parts.flatMap((part) => part.pathFirst),
    env: Object.assign({}, ...parts.map((part) => part.env)) as Record<string, string>,
    ...(missing === undefined ? {} : { missing }),
  }
}

async function otherPart(project: Project): Promise<InstallPart> {
  const names = await project.filesOf(Object.keys(OTHERS) as (keyof typeof OTHERS)[])
  return { ...NOTHING, remarks: names.map((name) => remark(name, OTHERS[name])) }
}

/** The environment of the command once the plan is carried out. */
export function withPlan(env: Readonly<Record<string, string>>, plan: InstallPart): Record<string, string> {
  return { ...env, ...plan.env, PATH: [...plan.pathFirst, env['PATH'] ?? ''].join(':') }
}

/** Quiet, and without questions that nobody can answer. */
const INSTALL_DEFAULTS = {
  CI: '1',
  npm_config_progress: 'false',
  npm_config_fund: 'false',
  npm_config_audit: 'false',
  npm_config_update_notifier: 'false',
  COREPACK_ENABLE_DOWNLOAD_PROMPT: '0',
  PIP_PROGRESS_BAR: 'off',
  PIP_DISABLE_PIP_VERSION_CHECK: '1',
  PIP_NO_INPUT: '1',
  UV_NO_PROGRESS: '1',
} as const

/** The environment of the install; what the order sets itself stays, in whatever case it is written. */
export function installEnvironment(env: Readonly<Record<string, string>>): Record<string, string> {
  const given = new Set(Object.keys(env).map((name) => name.toLowerCase()))
  const added = Object.entries(INSTALL_DEFAULTS).filter(([name]) => !given.has(name.toLowerCase()))
  return { ...Object.fromEntries(added), ...env }
}
