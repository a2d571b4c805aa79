import { parse } from '@cdktf/hcl2json'
import { filesIn, read } from './repository.ts'

export type Block = { readonly [name: string]: unknown }

/** The contents of the .tf files of a folder, by kind. Expressions are text such as `${var.region}`. */
export interface Configuration {
  readonly resources: ReadonlyMap<string, Block>
  readonly data: ReadonlyMap<string, Block>
  readonly variables: ReadonlyMap<string, Block>
  readonly outputs: ReadonlyMap<string, Block>
  readonly locals: ReadonlyMap<string, unknown>
  readonly terraform: Block
  /** The files' text together. */
  readonly text: string
}

export type Sources = Readonly<Record<string, string>>

export function terraformSources(): Sources {
  return Object.fromEntries(filesIn('infra', '.tf').map((name) => [name, read(`infra/${name}`)]))
}

/** @throws when a file is not HCL. */
export async function parseTerraform(sources: Sources): Promise<Configuration> {
  const configuration = {
    resources: new Map<string, Block>(),
    data: new Map<string, Block>(),
    variables: new Map<string, Block>(),
    outputs: new Map<string, Block>(),
    locals: new Map<string, unknown>(),
    terraform: {} as Block,
    text: Object.values(sources).join('\n'),
  }
  for (const [name, text] of Object.entries(sources)) {
    const file = (await parse(name, text)) as Record<string, never>
    collect(configuration.resources, file['resource'])
    collect(configuration.data, file['data'], 'data.')
    for (const [key, [block]] of entries<[Block]>(file['variable'])) configuration.variables.set(key, block)
    for (const [key, [block]] of entries<[Block]>(file['output'])) configuration.outputs.set(key, block)
    for (const block of (file['locals'] as Block[] | undefined) ?? [])
      for (const [key, value] of Object.entries(block)) configuration.locals.set(key, value)
    for (const block of (file['terraform'] as Block[] | undefined) ?? []) Object.assign(configuration.terraform, block)
  }
  return configuration
}

function collect(into: Map<string, Block>, kinds: unknown, prefix = ''): void {
  for (const [type, byName] of entries<Record<string, [Block]>>(kinds))
    for (const [name, [block]] of Object.entries(byName)) into.set(`${prefix}${type}.${name}`, block)
}

function entries<T>(value: unknown): [string, T][] {
  return Object.entries((value ?? {}) as Record<string, T>)
}

/** Every text in a block, with its path. */
export function texts(value: unknown, path = ''): [path: string, text: string][] {
  if (typeof value === 'string') return [[path, value]]
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, item]) => texts(item, path === '' ? key : `${path}.${key}`))
}
