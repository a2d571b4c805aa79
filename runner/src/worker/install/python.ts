import { parse } from 'smol-toml'
import { z } from 'zod'
import { type InstallPart, type InstallStep, NOTHING } from './part.ts'
import type { Project } from './project.ts'

const VENV = '.venv'

/** What other tools install, and how an install_cmd says so; the first that is there counts. */
const OTHERS = {
  'poetry.lock': 'poetry install',
  'pdm.lock': 'pdm sync',
  'Pipfile.lock': 'pipenv sync',
  Pipfile: 'pipenv install',
  'environment.yml': 'conda env create --prefix .conda --file environment.yml',
  'environment.yaml': 'conda env create --prefix .conda --file environment.yaml',
  'setup.py': `python3 -m venv ${VENV} && ${VENV}/bin/pip install -e .`,
} as const
type Other = keyof typeof OTHERS

const Manifest = z.object({
  project: z
    .object({ dependencies: z.array(z.string()).default([]), dynamic: z.array(z.string()).default([]) })
    .optional(),
  'build-system': z.unknown().optional(),
  tool: z.object({ poetry: z.unknown().optional() }).optional(),
})
type Manifest = z.output<typeof Manifest>

/** One way to install: what uv runs, what pip runs where there is no uv, and why. */
interface Way {
  readonly uv: string
  /** Null: pip cannot do it. */
  readonly pip: string | null
  readonly because: string
  /** What is to be known when pip does it. */
  readonly pipRemark?: string
}

/**
 * How Python code is installed: by uv.lock, else by requirements.txt, else as pyproject.toml says; always into a `.venv`
 * of its own. By uv where it runs, else by pip, which cannot read uv.lock.
 */
export async function pythonPart(project: Project): Promise<InstallPart> {
  const others = await project.filesOf(Object.keys(OTHERS) as Other[])
  const way = await wayOf(project, others)
  if (way === undefined) return { ...NOTHING, remarks: remarksOn(others) }
  if (typeof way === 'string') return { ...NOTHING, remarks: [way] }
  const hasUv = await project.canRun('uv')
  const hasPip = way.pip !== null && (await project.findTool('python3')) !== undefined
  if (!hasUv && !hasPip) return { ...NOTHING, missing: missing(way) }
  const venv = `${project.folder}/${VENV}`
  return {
    steps: [stepOf(way, hasUv)],
    remarks: hasUv || way.pipRemark === undefined ? [] : [way.pipRemark],
    pathFirst: [`${venv}/bin`],
    env: { VIRTUAL_ENV: venv },
  }
}

/** One that was copied leads to where it was made, so it is always made anew; with pip, or the command's would be the machine's. */
function stepOf(way: Way, hasUv: boolean): InstallStep {
  const make = hasUv ? `uv venv --quiet --seed ${VENV}` : `python3 -m venv ${VENV}`
  const install = hasUv ? way.uv : way.pip!
  return { run: `rm -rf ${VENV} && ${make} && ${install}`, shown: install, because: `${way.because}; into ${VENV}` }
}

/** A sentence when nothing is installed for a reason. */
async function wayOf(project: Project, others: readonly Other[]): Promise<Way | string | undefined> {
  const text = await project.text('pyproject.toml')
  const manifest = text === undefined ? undefined : readManifest(text)
  if (await project.has('uv.lock')) {
    return manifest === undefined
      ? 'There is a uv.lock without a pyproject.toml: nothing is installed for it.'
      : lockedWay(manifest)
  }
  if (await project.has('requirements.txt')) {
    const install = 'pip install -r requirements.txt'
    const locks = others.filter((name) => /lock$/i.test(name))
    const because = `there is a requirements.txt${locks.length === 0 ? '' : `; not used: ${locks.join(', ')}`}`
    return { uv: `uv ${install}`, pip: `python -m ${install}`, because }
  }
  if (manifest === undefined || others.some((name) => name !== 'setup.py')) return undefined
  if (manifest.project === undefined) {
    return manifest.tool?.poetry === undefined ? undefined : remark('Poetry pyproject.toml', OTHERS['poetry.lock'])
  }
  return projectWay(manifest)
}

/** One that cannot be read is left to the tool, which says what is wrong with it. */
function readManifest(text: string): Manifest {
  try {
    return Manifest.parse(parse(text))
  } catch {
    return { project: { dependencies: [], dynamic: [] }, 'build-system': {} }
  }
}

function lockedWay(manifest: Manifest): Way {
  return {
    uv: 'uv sync --locked',
    pip: projectWay(manifest)?.pip ?? null,
    because: 'there is a uv.lock',
    pipRemark: 'uv was not found where the session runs, and pip does not read uv.lock: versions may differ.',
  }
}

/** Undefined when a project has nothing to install: no dependencies, and no way to build it. */
function projectWay({ project, 'build-system': build }: Manifest): Way | undefined {
  if (project === undefined) return undefined
  const because = 'there is a pyproject.toml with a project'
  if (build !== undefined || project.dynamic.includes('dependencies')) {
    return { uv: 'uv pip install -e .', pip: 'python -m pip install -e .', because }
  }
  if (project.dependencies.length === 0) return undefined
  const quoted = project.dependencies.map((text) => `'${text.replaceAll("'", `'\\''`)}'`)
  return { uv: 'uv pip install -r pyproject.toml', pip: `python -m pip install ${quoted.join(' ')}`, because }
}

function remarksOn(others: readonly Other[]): string[] {
  return others.slice(0, 1).map((name) => remark(name, OTHERS[name]))
}

/** What the terminal says of a file for which nothing is installed. */
export function remark(file: string, example: string): string {
  return `There is a ${file}, for which nothing is installed without an install_cmd such as "${example}".`
}

function missing({ pip, because }: Way): string {
  const tools = pip === null ? 'uv' : 'Neither uv nor python3'
  return `${tools} was ${pip === null ? 'not ' : ''}found where the session runs (${because}). Install it there, or set install_cmd to the command that installs this code; an empty one installs nothing.`
}
