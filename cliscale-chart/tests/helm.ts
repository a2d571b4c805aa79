/** Renders the chart, as its tests read it. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseAllDocuments, stringify } from 'yaml'

export const CHART = fileURLToPath(new URL('..', import.meta.url))
export const CASES = fileURLToPath(new URL('cases', import.meta.url))

/** A Kubernetes object as YAML has it; tests look into it as they please. */
export interface KubeObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly labels?: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
  }
  // eslint-disable-next-line typescript/no-explicit-any -- a hundred kinds of objects, read by their paths
  readonly [field: string]: any
}

export interface ValuesCase {
  readonly name: string
  readonly release: string
  readonly namespace: string
  /** Files of the chart that lie under the case's own. */
  readonly profiles: readonly string[]
}

const valuesCase = (name: string, change: Partial<ValuesCase> = {}): ValuesCase => ({
  name,
  release: 'cliscale',
  namespace: 'ws-cli',
  profiles: [],
  ...change,
})

export const VALUES_CASES: readonly ValuesCase[] = [
  valuesCase('existing-database'),
  valuesCase('dev', { profiles: ['values-dev.yaml'] }),
  valuesCase('staging', { profiles: ['values-staging.yaml'] }),
  valuesCase('production', { profiles: ['values-production.yaml'] }),
  valuesCase('cert-manager', { release: 'terminals', namespace: 'tools' }),
  valuesCase('own-secrets'),
  valuesCase('no-ingress'),
  valuesCase('trial-database'),
  valuesCase('private-network'),
  valuesCase('everything', { release: 'green', namespace: 'tools' }),
]

export const whyNoHelm = (() => {
  const { status, error } = spawnSync('helm', ['version', '--short'], { encoding: 'utf8' })
  return error || status !== 0 ? 'helm is not in the PATH' : undefined
})()

export function helm(args: readonly string[]): string {
  // A kubeconfig of the machine has no part in this.
  const env = { ...process.env, KUBECONFIG: '/dev/null' }
  return execFileSync('helm', args, { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024, stdio: 'pipe', env })
}

/** The text that `helm template` prints for a case. */
export function renderCase({ name, release, namespace, profiles }: ValuesCase): string {
  const files = [...profiles.map((file) => path.join(CHART, file)), path.join(CASES, `${name}.yaml`)]
  return helm(['template', release, CHART, '--namespace', namespace, ...files.flatMap((file) => ['--values', file])])
}

/** What `helm template` says against values; undefined when it takes them. Values come on top of a case that works. */
export function refusalOf(values: unknown, options: { namespace?: string; release?: string } = {}): string | undefined {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'cliscale-chart-'))
  try {
    const file = path.join(dir, 'values.yaml')
    writeFileSync(file, typeof values === 'string' ? values : stringify(values))
    const base = ['--values', path.join(CASES, 'own-secrets.yaml')]
    const name = options.release ?? 'cliscale'
    helm(['template', name, CHART, '--namespace', options.namespace ?? 'ws-cli', ...base, '--values', file])
    return undefined
  } catch (error) {
    return String((error as { stderr?: string }).stderr)
  } finally {
    rmSync(dir, { recursive: true })
  }
}

export function parseObjects(text: string): KubeObject[] {
  return parseAllDocuments(text, { uniqueKeys: true }).flatMap((document) => {
    if (document.errors.length > 0) throw document.errors[0]!
    const object = document.toJS() as KubeObject | null
    return object === null ? [] : [object]
  })
}

/** Rendered once for all tests of a file. */
const rendered = new Map<string, { text: string; objects: readonly KubeObject[] }>()

export function objectsOf(given: ValuesCase): readonly KubeObject[] {
  return rendering(given).objects
}

export function textOf(given: ValuesCase): string {
  return rendering(given).text
}

function rendering(given: ValuesCase) {
  let found = rendered.get(given.name)
  if (found === undefined) {
    const text = renderCase(given)
    found = { text, objects: parseObjects(text) }
    rendered.set(given.name, found)
  }
  return found
}

export function caseNamed(name: string): ValuesCase {
  const found = VALUES_CASES.find((one) => one.name === name)
  if (found === undefined) throw new TypeError(`no values case ${name}`)
  return found
}
