import { existsSync } from 'node:fs'
import path from 'node:path'
import { parse } from 'yaml'
import { anchors, codeBlocks, commands, inlineCode, links } from './markdown.ts'
import { at, leaves, read, root, syntaxFaults } from './repository.ts'

/** What documents may name. */
export interface Known {
  /** values.yaml of the chart. */
  readonly values: unknown
  /** Outputs and variables of Terraform. */
  readonly outputs: ReadonlySet<string>
  readonly variables: ReadonlySet<string>
  /** Metrics with their labels; codes and reasons; settings. */
  readonly metrics: ReadonlyMap<string, string>
  readonly words: ReadonlySet<string>
  readonly settings: ReadonlySet<string>
  /** `kind/name` of what the chart makes, where it could be rendered. */
  readonly objects?: ReadonlySet<string>
}

/** False statements of a document. `file` is its path in the repository. */
export function faultsOf(file: string, markdown: string, known: Known): string[] {
  return [
    ...faultsOfBlocks(markdown, known),
    ...commands(markdown).flatMap((command) => faultsOfCommand(command, known)),
    ...inlineCode(markdown).flatMap((code) => faultsOfName(code, known)),
    ...faultsOfLinks(file, markdown),
  ]
}

function faultsOfBlocks(markdown: string, { values }: Known): string[] {
  return codeBlocks(markdown).flatMap(({ language, text }) => {
    if (language === 'yaml')
      return leaves(parse(text))
        .filter((leaf) => !isValue(values, leaf.split('.')))
        .map((leaf) => `${leaf} is no value of the chart`)
    // Bash would read the angle brackets of what the reader has to fill in as redirections.
    const fault = language === 'bash' ? syntaxFaults(text.replaceAll(/<[\w-]+>/g, 'X')) : ''
    return fault === '' ? [] : [`is no bash: ${fault}`]
  })
}

/** Whether a path leads to a value; below an empty map or list the operator chooses the names. */
export function isValue(values: unknown, keys: readonly string[]): boolean {
  let node = values
  for (const key of keys) {
    if (typeof node === 'object' && node !== null && Object.keys(node).length === 0) return true
    if (at(node, key) === undefined) return false
    node = at(node, key)
  }
  return true
}

function faultsOfCommand(command: string, known: Known): string[] {
  return [
    ...matches(command, /--set (?:'|")?([\w.]+)=/g)
      .filter((key) => !isValue(known.values, key.split('.')))
      .map((key) => `--set ${key}: is no value of the chart`),
    ...matches(command, /output -raw (\w+)/g)
      .filter((name) => !known.outputs.has(name))
      .map((name) => `Terraform has no output ${name}`),
    ...matches(command, /-var (\w+)=/g)
      .filter((name) => !known.variables.has(name))
      .map((name) => `Terraform has no variable ${name}`),
    ...matches(command, /npm run (?:--\S+ )?([\w:]+)/g)
      .filter((name) => !npmScripts().has(name))
      .map((name) => `there is no npm script ${name}`),
    ...matches(command, /-n ([\w-]+)/g)
      .filter((name) => /^kubectl|^helm/.test(command) && !['ws-cli', 'ws-cli-sessions', '20'].includes(name))
      .map((name) => `the namespace ${name} is not ours`),
    ...faultsOfObjects(command, known),
  ]
}

const KINDS = 'ingress|secret|deployment|cronjob|managedcertificate|configmap|service|job'

function faultsOfObjects(command: string, { objects }: Known): string[] {
  if (objects === undefined || !command.includes('kubectl')) return []
  const named = [...command.matchAll(new RegExp(`\\b(${KINDS})[ /]([a-z][a-z0-9-]*[a-z0-9])\\b`, 'g'))]
  return (
    named
      // What the reader creates: `create secret generic …`, `create job …`.
      .filter(([text]) => !command.includes(`create ${text}`))
      .map(([, kind = '', name = '']) => `${kind}/${name}`)
      .filter((object) => !objects.has(object))
      .map((object) => `the chart makes no ${object}`)
  )
}

const TOP =
  /^(image|controller|gateway|runner|sessions|database|postgresql|migration|apiKey|dataKey|signingKey|ingress|metrics|networkPolicy|tests)\./

/** Names in prose: values of the chart, metrics, settings, files, codes. The first kind that a name resembles wins. */
const NAMES: readonly [looks: RegExp, isKnown: (name: string, known: Known) => boolean, fault: string][] = [
  [TOP, (name, { values }) => isValue(values, name.split('.')), 'is no value of the chart'],
  // Not metrics: roles of the database.
  [/^cliscale_gateway(_login)?$/, () => true, ''],
  [/^cliscale_\w+$/, (name, { metrics }) => metrics.has(plainMetric(name)), 'is no metric'],
  [/^CLISCALE_\w+$/, (name, { settings }) => settings.has(name), 'is no setting'],
  [
    /^(infra|docs|controller|cliscale-chart)\/[\w./-]+\.\w+$/,
    (name) => existsSync(path.join(root, name)),
    'does not exist',
  ],
  [/^(session_endpoints|token_jti|max_connections)$/, () => true, ''],
  [
    /^[a-z]+(_[a-z]+)+$/,
    (name, { words, variables }) => words.has(name) || variables.has(name),
    'is no code, reason or label',
  ],
]

function faultsOfName(code: string, known: Known): string[] {
  const name = code.split(/[\s:=,{]/)[0] ?? ''
  const [, isKnown, fault] = NAMES.find(([looks]) => looks.test(name)) ?? []
  return isKnown === undefined || isKnown(name, known) ? [] : [`${name} ${fault}`]
}

function faultsOfLinks(file: string, markdown: string): string[] {
  return links(markdown).flatMap(([target, anchor]) => {
    const name = target === '' ? file : path.join(path.dirname(file), target)
    if (!existsSync(path.join(root, name))) return [`leads to ${name}, which does not exist`]
    if (anchor === '' || !name.endsWith('.md')) return []
    return anchors(read(name)).has(anchor) ? [] : [`leads to ${name}#${anchor}, which does not exist`]
  })
}

/** A metric without the suffix that a histogram adds. */
export function plainMetric(name: string): string {
  return name.replace(/_(bucket|sum|count)$/, '')
}

function npmScripts(): Set<string> {
  const of = (file: string) => Object.keys((JSON.parse(read(file)) as { scripts?: object }).scripts ?? {})
  return new Set([...of('package.json'), ...of('controller/package.json')])
}

function matches(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map(([, first = '']) => first)
}
