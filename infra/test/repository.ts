import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { spawnSync } from 'node:child_process'
import { parse } from 'yaml'

export const root = fileURLToPath(new URL('../../', import.meta.url))

/** The text of a file of the repository. */
export function read(file: string): string {
  return readFileSync(path.join(root, file), 'utf8')
}

/** The names of files in a folder of the repository. */
export function filesIn(folder: string, ending: string): string[] {
  return readdirSync(path.join(root, folder)).filter((name) => name.endsWith(ending))
}

/** A YAML file with anchors and merge keys resolved. */
export function readYaml(file: string): unknown {
  return parse(read(file), { merge: true })
}

export type Tree = { readonly [key: string]: Node }
export type Node = Tree | readonly Node[] | string | number | boolean | null | undefined

/** What stands at a path; undefined where there is nothing. */
export function at(tree: unknown, ...keys: (string | number)[]): unknown {
  return keys.reduce<unknown>((node, key) => {
    if (typeof node !== 'object' || node === null) return undefined
    return (node as Record<string | number, unknown>)[key]
  }, tree)
}

/** Every path of a tree that leads to something other than an object, as `a.b.c`. Lists are leaves. */
export function leaves(tree: unknown, prefix = ''): string[] {
  if (typeof tree !== 'object' || tree === null || Array.isArray(tree)) return [prefix]
  const entries = Object.entries(tree)
  if (entries.length === 0) return [prefix]
  return entries.flatMap(([key, value]) => leaves(value, prefix === '' ? key : `${prefix}.${key}`))
}

/** The faults that bash finds in a script without running it. */
export function syntaxFaults(script: string): string {
  return spawnSync('bash', ['-n'], { input: script, encoding: 'utf8' }).stderr.trim()
}

/** The objects of the chart, as every document and configuration installs it, with further arguments for Helm. */
export function helmTemplate(...args: string[]): string {
  const { stdout, stderr, status } = spawnSync(
    'helm',
    ['template', 'cliscale', 'cliscale-chart', '-n', 'ws-cli', ...args],
    { cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 },
  )
  if (status !== 0 || stderr !== '') throw new Error(`helm template: ${stderr}`)
  return stdout
}

/** Whether a program can be started. */
export function has(program: string, ...args: string[]): boolean {
  return spawnSync(program, args, { stdio: 'ignore', timeout: 30_000 }).status === 0
}
