/** The tree of a fetched commit: judged before any of it becomes a file, and what is to be done once it did. */
import { lstat, readFile, symlink, unlink } from 'node:fs/promises'
import path from 'node:path'
import { SessionFailure } from '../failure.ts'
import { below, createEntryPlan, createLinkCheck, type NameRules } from './entry-plan.ts'
import { type GitRun, runGit } from './git-process.ts'
import { folderNotFound } from './github.ts'
import type { FetchLimits } from './limits.ts'
import { printable } from './refusal.ts'

export interface ListedTree {
  readonly links: readonly string[]
  readonly submodules: number
  /** Files of a size that a Git LFS pointer has. */
  readonly small: readonly string[]
}

interface TreeEntry {
  readonly name: string
  readonly kind: 'file' | 'folder' | 'link' | 'submodule'
  readonly size: number
}

const KINDS: Partial<Record<string, TreeEntry['kind']>> = {
  '040000': 'folder',
  '120000': 'link',
  '160000': 'submodule',
}

/** One record of `git ls-tree -l -z`. */
function readEntry(record: string): TreeEntry {
  const [, mode = '', size = '', name = ''] = /^(\d+) \w+ [0-9a-f]+ +(\d+|-)\t(.*)$/s.exec(record) ?? []
  return { name, kind: KINDS[mode] ?? 'file', size: size === '-' ? 0 : Number(size) }
}

/**
 * Applies the rules for archives to HEAD, or to the folder of it that is wanted.
 * @throws SessionFailure `archive_refused`, `folder_not_found`; `ref_not_found` when there is no commit
 */
export async function listTree(
  run: GitRun,
  { folder, shortRef }: { readonly folder: string; readonly shortRef: string },
  { limits, names }: { readonly limits: FetchLimits; readonly names: NameRules },
): Promise<ListedTree> {
  const plan = createEntryPlan(limits, names)
  const found = { links: [] as string[], small: [] as string[], submodules: 0 }
  const all: string[] = []
  const root: { kind?: TreeEntry['kind'] } = folder === '' ? { kind: 'folder' } : {}
  const add = ({ name, kind, size }: TreeEntry): void => {
    if (kind === 'submodule') found.submodules += 1
    if (kind === 'link') found.links.push(name)
    if (kind === 'file' && size > 100 && size < 1024) found.small.push(name)
    plan.add({ name, kind: kind === 'folder' || kind === 'submodule' ? 'folder' : 'file', size, executable: false })
  }
  const listed = await runGit(['ls-tree', '-r', '-t', '-l', '-z', '--full-tree', 'HEAD'], {
    ...run,
    onRecord(record) {
      const entry = readEntry(record)
      if (folder !== '' && all.length < limits.entries) all.push(entry.name)
      if (entry.name === folder) root.kind = entry.kind
      const name = below(entry.name, folder)
      if (name) add({ ...entry, name })
    },
  })
  if (listed.code !== 0)
    throw new SessionFailure(
      'ref_not_found',
      'There is no git repository at code_url, or its default branch has no commit.',
    )
  if (root.kind === 'submodule')
    throw new SessionFailure(
      'folder_not_found',
      `Folder ${printable(folder)} is a submodule, which is not fetched. Use the address of its own repository.`,
    )
  if (root.kind !== 'folder') throw folderNotFound(folder, shortRef, all)
  plan.finish({ root: () => '', outsideLinks: 'refuse' })
  return found
}

/** Puts links in place. @returns notes for the person who started the session */
export async function finishTree(root: string, tree: ListedTree): Promise<string[]> {
  const notes = await restoreLinks(root, tree.links)
  if (tree.submodules > 0) notes.push(`submodules are not fetched; ${tree.submodules} listed`)
  const pointers = await countLfsPointers(root, tree.small)
  if (pointers > 0) notes.push(`${pointers} file(s) are Git LFS pointers; their content is not fetched`)
  return notes
}

/**
 * git wrote every link as a file that holds its target (core.symlinks=false), so that nothing is ever written through
 * a link. Those that stay inside become links now.
 */
async function restoreLinks(target: string, paths: readonly string[]): Promise<string[]> {
  const targets = new Map<string, string>()
  for (const relative of paths) {
    const text = await readFile(path.join(target, relative), 'utf8')
    if (text.length > 0 && text.length <= 1024 && !text.includes('\0')) targets.set(relative, text)
  }
  const leadsOut = createLinkCheck(targets, 'as-git')
  const plain = paths.filter((relative) => {
    const to = targets.get(relative)
    return to === undefined || leadsOut({ name: relative, path: relative, target: to })
  })
  const kept = new Set(plain)
  for (const [relative, to] of targets) {
    if (kept.has(relative)) continue
    await unlink(path.join(target, relative))
    await symlink(to, path.join(target, relative))
  }
  if (plain.length === 0) return []
  const some = plain.slice(0, 3).map(printable).join(', ')
  return [`${plain.length} symbolic link(s) that lead out of the repository are plain files here: ${some}`]
}

async function countLfsPointers(target: string, small: readonly string[]): Promise<number> {
  let count = 0
  for (const relative of small.slice(0, 2000)) {
    const file = path.join(target, relative)
    if (!(await lstat(file)).isFile()) continue
    if ((await readFile(file, 'utf8')).startsWith('version https://git-lfs.github.com/spec/')) count += 1
  }
  return count
}
