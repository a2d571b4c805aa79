import { z } from 'zod'
import { type InstallPart, type InstallStep, NOTHING } from './part.ts'
import type { Project } from './project.ts'

type Manager = 'pnpm' | 'yarn' | 'bun' | 'npm'

/** In the order in which they count: who uses another tool than npm often has a lock file of npm's left over. */
const LOCKS = {
  'pnpm-lock.yaml': 'pnpm',
  'yarn.lock': 'yarn',
  'bun.lock': 'bun',
  'bun.lockb': 'bun',
  'npm-shrinkwrap.json': 'npm',
  'package-lock.json': 'npm',
} as const
type Lock = keyof typeof LOCKS
const LOCK_NAMES = Object.keys(LOCKS) as Lock[]

const manager = z.object({ name: z.enum(['pnpm', 'yarn', 'bun', 'npm']), version: z.string().optional() })
const Manifest = z.object({
  packageManager: z.string().optional().catch(undefined),
  devEngines: z
    .object({ packageManager: z.union([manager, z.array(manager).transform((all) => all[0])]) })
    .optional()
    .catch(undefined),
})

/** A tool, and why it. */
interface Choice {
  readonly manager: Manager
  /** Its version, where package.json gives one. */
  readonly version?: string | undefined
  /** Its lock file, where there is one. */
  readonly lock?: Lock | undefined
  readonly because: string
}

/**
 * How a package.json is installed: by the tool that it names (`packageManager`, `devEngines`), else by the tool of the
 * first lock file that can run, as the lock file says; by npm when there is neither.
 */
export async function nodePart(project: Project): Promise<InstallPart> {
  const locks = await project.filesOf(LOCK_NAMES)
  if (!(await project.has('package.json'))) {
    const remarks = locks.map((lock) => `There is a ${lock} without a package.json: nothing is installed for it.`)
    return { ...NOTHING, remarks }
  }
  const choices = await choicesOf(project, locks)
  for (const choice of choices) {
    const part = await partOf(project, choice, locks)
    if (part !== undefined) return part
  }
  return { ...NOTHING, missing: missing(choices[0]!) }
}

async function choicesOf(project: Project, locks: readonly Lock[]): Promise<Choice[]> {
  const named = readManager((await project.text('package.json')) ?? '')
  const lockOf = (name: Manager): Lock | undefined => locks.find((lock) => LOCKS[lock] === name)
  const byName: Choice[] =
    named === undefined
      ? []
      : [
          {
            manager: named.name,
            version: named.version,
            lock: lockOf(named.name),
            because: `package.json names ${named.name} as its package manager`,
          },
        ]
  const byLock = locks.map((lock) => ({ manager: LOCKS[lock], lock, because: `there is a ${lock}` }))
  if (byName.length + byLock.length > 0) return [...byName, ...byLock]
  if (await project.has('pnpm-workspace.yaml')) {
    return [{ manager: 'pnpm', because: 'there is a pnpm-workspace.yaml' }]
  }
  return [{ manager: 'npm', because: 'there is a package.json and no lock file' }]
}

function readManager(text: string): z.output<typeof manager> | undefined {
  let manifest: z.output<typeof Manifest>
  try {
    manifest = Manifest.parse(JSON.parse(text))
  } catch {
    return undefined // whichever tool runs, it says what is wrong
  }
  const [, name, version] = /^([a-z]+)(?:@(\d[^+]*))?/.exec(manifest.packageManager ?? '') ?? []
  const named = manager.safeParse({ name, version })
  return named.success ? named.data : manifest.devEngines?.packageManager
}

/** Undefined when its tool is not here. */
async function partOf(project: Project, choice: Choice, locks: readonly Lock[]): Promise<InstallPart | undefined> {
  const { manager: name, version } = choice
  const passedOver = locks.filter((lock) => LOCKS[lock] !== name)
  const because = `${choice.because}${passedOver.length === 0 ? '' : `; not used: ${passedOver.join(', ')}`}`
  const step = (shown: string): InstallStep => ({ run: shown, shown, because })
  const isModern = name === 'yarn' && (await usesModernYarn(project, choice))
  const isFound = (await project.findTool(name)) !== undefined
  // A `yarn` in the search path is the classic one nearly always. Only where the code brings its own does it hand over.
  const isRight = !isModern || /^yarnPath:/m.test((await project.text('.yarnrc.yml')) ?? '')
  if (isFound && isRight) return { ...NOTHING, steps: [step(commandOf(choice, isModern))] }
  if ((name === 'yarn' || name === 'pnpm') && (await project.canRun('corepack'))) {
    const shown = commandOf(choice, isModern)
    const run = `${bringByCorepack(name, isModern && version === undefined)} && ${shown}`
    return { ...NOTHING, pathFirst: [`${project.env['HOME']}/.local/bin`], steps: [{ ...step(shown), run }] }
  }
  // The classic one fails by this option, where by the modern one it would write a lock file of its own form.
  return isFound ? { ...NOTHING, steps: [step(commandOf(choice, false))] } : undefined
}

function commandOf({ manager: name, lock }: Choice, isModernYarn: boolean): string {
  const isLocked = lock !== undefined
  if (name === 'npm') return isLocked ? 'npm ci' : 'npm install'
  if (isModernYarn) return `yarn install ${isLocked ? '--immutable' : '--no-immutable'}`
  return `${name} install${isLocked ? ' --frozen-lockfile' : ''}`
}

/** Yarn 2 and newer, which has options and lock files of another form. */
async function usesModernYarn(project: Project, { version, lock }: Choice): Promise<boolean> {
  if (version !== undefined) return !/^[01]\./.test(version)
  if (lock !== undefined) return /^__metadata:/m.test((await project.text(lock)) ?? '')
  return project.has('.yarnrc.yml')
}

/** Into a folder of the session, so that the command has the tool too. */
function bringByCorepack(name: 'pnpm' | 'yarn', asModernYarn: boolean): string {
  const enable = `mkdir -p ~/.local/bin && corepack enable --install-directory ~/.local/bin ${name}`
  return asModernYarn ? `${enable} && corepack install --global yarn@4` : enable
}

function missing(choice: Choice): string {
  const { manager: name, because } = choice
  const example = name === 'npm' ? '' : `, for example "npx --yes ${commandOf(choice, false)}"`
  return `${name} was not found where the session runs (${because}). Install it there, or set install_cmd to the command that installs this code${example}; an empty one installs nothing.`
}
