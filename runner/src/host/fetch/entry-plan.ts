/**
 * Our policy on what an archive may hold: pure, and decided for the whole archive before a byte is written.
 * Paths are relative, with `/`, without `.` or empty parts; the root is ''.
 */
import { formatBytes, type FetchLimits } from './limits.ts'
import { printable, refuse } from './refusal.ts'

export interface ArchiveEntry {
  /** As it stands in the archive; not well-formed when that is not UTF-8 (decodeName). */
  readonly name: string
  readonly kind: 'file' | 'folder' | 'symlink' | 'hardlink'
  /** Unpacked, in bytes; 0 for all but files. */
  readonly size: number
  readonly executable: boolean
  /** Of links: what it points to, as it stands in the archive. */
  readonly target?: string
  /** Of files and folders: when it was changed last, in milliseconds; absent when the archive does not say. */
  readonly mtimeMs?: number
}

interface PlannedEntry extends ArchiveEntry {
  /** Below the workspace. */
  readonly path: string
  /** Of hardlinks: path of the file below the workspace. */
  readonly source?: string
}

export interface Plan {
  /** By position in the archive; undefined: not unpacked. */
  readonly entries: readonly (PlannedEntry | undefined)[]
  readonly notes: readonly string[]
}

export interface PlanOptions {
  /** Which folder of the archive becomes the workspace, from all paths of the archive. '' is all of it. */
  readonly root: (paths: readonly string[]) => string
  /** What happens to symbolic links that lead out of the workspace. */
  readonly outsideLinks: 'refuse' | 'omit'
  /** Whether `.git` and `.venv` are left out with a note, instead of a refusal of `.git`. */
  readonly leaveOut?: boolean
  /** `portable` when absent. */
  readonly names?: NameRules
}

/**
 * `as-git`: backslashes and colons are characters like others, as a repository may have them. `as-git-cased`: so are
 * upper and lower case, where the file system tells two such files apart.
 */
export type NameRules = 'portable' | 'as-git' | 'as-git-cased'

/** Collects an archive's entries in order. `add` and `finish` throw SessionFailure `archive_refused`. */
export function createEntryPlan(
  limits: FetchLimits,
  names: NameRules = 'portable',
): {
  add(entry: ArchiveEntry): void
  finish(options: PlanOptions): Plan
} {
  const entries: (ArchiveEntry & { clean: string })[] = []
  let bytes = 0
  return {
    add(entry) {
      if (entries.length >= limits.entries)
        throw refuse(
          'too-many-entries',
          undefined,
          `The archive contains more than ${limits.entries} entries; pack fewer files.`,
        )
      const clean = cleanPath(entry.name, limits, names)
      if (clean === '' && entry.kind !== 'folder') throw refuse('empty-name', entry.name, 'names no file.')
      checkTarget(entry, limits)
      bytes += entry.size
      if (!Number.isSafeInteger(entry.size) || entry.size < 0 || bytes > limits.unpackedBytes)
        throw refuse(
          'too-large',
          entry.name,
          `brings the unpacked size over ${formatBytes(limits.unpackedBytes)}; pack less.`,
        )
      entries.push({ ...entry, clean })
    },
    finish(options) {
      const root = options.root(entries.map((entry) => entry.clean))
      const leftOut = new Set<string>()
      const planned = entries.map((entry) => place(entry, root, limits, options, leftOut))
      if (!planned.some((entry) => entry !== undefined && entry.kind !== 'folder'))
        throw refuse('empty', undefined, 'The archive contains no files.')
      checkNames(planned, names)
      const plan = applyLinkRules(copyHardLinkedLinks(planned), options)
      return leftOut.size === 0 ? plan : { ...plan, notes: [leftOutNote(leftOut), ...plan.notes] }
    },
  }
}

/**
 * The path that an entry's name means.
 * @throws SessionFailure when the name could mean another place to another program
 */
export function cleanPath(name: string, limits: FetchLimits, rules: NameRules = 'portable'): string {
  if (/[\0-\x1f\x7f]/.test(name)) throw refuse('control-character', name, 'has a control character in its name.')
  if (!name.isWellFormed()) throw refuse('not-utf8', name, 'has a name that is not UTF-8.')
  if (name.startsWith('/')) throw refuse('absolute-path', name, 'has an absolute path; pack with relative paths.')
  if (rules === 'portable' && name.includes('\\'))
    throw refuse('backslash', name, 'has a backslash in its name; pack with "/".')
  if (rules === 'portable' && /^[a-z]:/i.test(name))
    throw refuse('drive-name', name, 'starts with a drive letter; pack with relative paths.')
  if (Buffer.byteLength(name) > limits.pathBytes)
    throw refuse('name-too-long', name, `has a path of more than ${limits.pathBytes} bytes.`)
  const parts = name.split('/').filter((part) => part !== '' && part !== '.')
  if (parts.includes('..')) throw refuse('parent-folder', name, 'leads out with ".."; pack without it.')
  if (parts.length > limits.depth) throw refuse('too-deep', name, `lies more than ${limits.depth} folders deep.`)
  if (parts.some((part) => Buffer.byteLength(part) > limits.nameBytes))
    throw refuse('name-too-long', name, `has a name of more than ${limits.nameBytes} bytes.`)
  return parts.join('/')
}

function checkTarget(entry: ArchiveEntry, limits: FetchLimits): void {
  if (entry.target === undefined) return
  if (/[\0-\x1f\x7f]/.test(entry.target) || entry.target === '')
    throw refuse('control-character', entry.name, 'is a link whose target is empty or has a control character.')
  if (!entry.target.isWellFormed()) throw refuse('not-utf8', entry.name, 'is a link whose target is not UTF-8.')
  if (Buffer.byteLength(entry.target) > limits.pathBytes)
    throw refuse('name-too-long', entry.name, `is a link whose target has more than ${limits.pathBytes} bytes.`)
}

/**
 * The one folder that holds everything of an archive, as `zip -r x.zip folder` and GitHub make it; '' when none. What
 * macOS adds beside it does not count.
 */
export function singleTopFolder(paths: readonly string[]): string {
  const counted = paths.filter((path) => path !== '' && !/^(__MACOSX(\/|$)|\._|\.DS_Store$)/.test(path))
  const [top = ''] = (counted[0] ?? '').split('/')
  const inside = counted.filter((path) => path !== top)
  return inside.length > 0 && inside.every((path) => path.startsWith(`${top}/`)) ? top : ''
}

/** Characters that some file systems ignore in a name, so that `.g\u200cit` is `.git` to them. */
const IGNORED = /[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]/g
const GIT_FOLDER = /^\.git[. ]*$|^git~\d+$/i

/** The folder of a path that is not taken out of an archive; undefined when there is none. */
function leftOutFolder(path: string, leaveOut: boolean): string | undefined {
  const parts = path.split('/')
  const at = parts.findIndex(
    (part) => GIT_FOLDER.test(part.replaceAll(IGNORED, '')) || (leaveOut && part.toLowerCase() === '.venv'),
  )
  return at === -1 ? undefined : parts.slice(0, at + 1).join('/')
}

function place(
  entry: ArchiveEntry & { clean: string },
  root: string,
  limits: FetchLimits,
  { leaveOut = false, names }: PlanOptions,
  leftOut: Set<string>,
): PlannedEntry | undefined {
  const path = below(entry.clean, root)
  if (path === undefined) return undefined
  if (path === '' && entry.kind !== 'folder') throw refuse('empty-name', entry.name, 'is where a folder must be.')
  const omitted = leftOutFolder(entry.clean, leaveOut)
  if (omitted !== undefined && !leaveOut)
    throw refuse('git-folder', entry.name, 'belongs to a .git folder, whose hooks would run; pack without it.')
  if (omitted !== undefined) {
    leftOut.add(omitted)
    return undefined
  }
  if (entry.kind !== 'hardlink') return { ...entry, path }
  const source = below(cleanPath(entry.target ?? '', limits, names), root)
  if (source === undefined)
    throw refuse('hardlink-target', entry.name, 'is a hard link to a file outside of what is unpacked.')
  return { ...entry, path, source }
}

/** A path as seen from a folder; '' is the folder itself, undefined what is not in it. */
export function below(path: string, root: string): string | undefined {
  if (root === '' || path === root) return path === root ? '' : path
  return path.startsWith(`${root}/`) ? path.slice(root.length + 1) : undefined
}

/** Twice the same name, names that a file system may take for the same, and entries below something that is no folder. */
function checkNames(entries: readonly (PlannedEntry | undefined)[], rules: NameRules): void {
  const kinds = new Map<string, PlannedEntry['kind']>()
  const forms = new Map<string, string>()
  for (const entry of entries) {
    if (entry === undefined || entry.path === '') continue
    const known = kinds.get(entry.path)
    if (known !== undefined && (known !== 'folder' || entry.kind !== 'folder'))
      throw refuse('duplicate-name', entry.name, 'appears twice.')
    kinds.set(entry.path, entry.kind)
  }
  const isFile = (path: string): boolean => rules === 'as-git-cased' && kinds.get(path) === 'file'
  for (const entry of entries) if (entry !== undefined && entry.path !== '') checkForms(entry, forms, isFile)
  for (const entry of entries) {
    if (entry === undefined) continue
    for (let at = entry.path.indexOf('/'); at !== -1; at = entry.path.indexOf('/', at + 1)) {
      const kind = kinds.get(entry.path.slice(0, at))
      if (kind !== undefined && kind !== 'folder')
        throw refuse('through-link', entry.name, 'lies below an entry that is a link or a file, not a folder.')
    }
  }
}

/** `mayDiffer`: which paths may be like another in all but case. */
function checkForms(entry: PlannedEntry, forms: Map<string, string>, mayDiffer: (path: string) => boolean): void {
  for (let at = entry.path.indexOf('/'); ; at = entry.path.indexOf('/', at + 1)) {
    const path = at === -1 ? entry.path : entry.path.slice(0, at)
    const form = path.normalize('NFC')
    const folded = form.toLowerCase()
    const other = forms.get(folded)
    const isTwin = other !== undefined && other !== path
    if (isTwin && !(form !== other.normalize('NFC') && mayDiffer(path) && mayDiffer(other)))
      throw refuse(
        'same-name-in-another-form',
        entry.name,
        `and ${printable(other)} differ only in upper and lower case or in Unicode form; rename one.`,
      )
    forms.set(folded, path)
    if (at === -1) return
  }
}

/** A hard link to a symbolic link is that link once more; one to another hard link leads to where that one does. */
function copyHardLinkedLinks(planned: readonly (PlannedEntry | undefined)[]): (PlannedEntry | undefined)[] {
  const byPath = new Map(planned.map((entry) => [entry?.path ?? '', entry]))
  return planned.map((entry) => {
    let source = entry
    for (let hops = 0; source?.kind === 'hardlink'; hops += 1) {
      if (hops > 40) throw refuse('link-loop', source.name, 'is a link that leads through too many links.')
      source = byPath.get(source.source ?? '')
    }
    if (entry?.kind !== 'hardlink' || source === undefined) return entry
    if (source.kind === 'symlink') return { ...entry, kind: 'symlink', target: source.target ?? '' }
    return { ...entry, source: source.path }
  })
}

function applyLinkRules(planned: readonly (PlannedEntry | undefined)[], options: PlanOptions): Plan {
  const links = new Map<string, string>()
  const files = new Set<string>()
  for (const entry of planned) {
    if (entry?.kind === 'symlink') links.set(entry.path, entry.target ?? '')
    if (entry?.kind === 'file') files.add(entry.path)
  }
  const omitted: string[] = []
  const leadsOut = createLinkCheck(links, options.names)
  const entries = planned.map((entry) => {
    if (entry?.kind === 'hardlink' && !files.has(entry.source ?? ''))
      throw refuse('hardlink-target', entry.name, 'is a hard link to something that is not a file of this archive.')
    if (entry?.kind !== 'symlink' || !leadsOut(entry)) return entry
    if (options.outsideLinks === 'refuse')
      throw refuse('link-outside', entry.name, `is a link to ${printable(entry.target ?? '')}, outside of the archive.`)
    omitted.push(entry.path)
    return undefined
  })
  const notes = omitted.length === 0 ? [] : [omittedNote(omitted)]
  return { entries, notes: [...notes, ...warnings(planned)] }
}

/** Settings that programs obey when they stand in the workspace. */
function warnings(planned: readonly (PlannedEntry | undefined)[]): string[] {
  const top = new Set(planned.map((entry) => entry?.path.split('/')[0]))
  return ['.npmrc', '.ssh'].filter((name) => top.has(name)).map((name) => `the code brings its own ${name}`)
}

function leftOutNote(folders: ReadonlySet<string>): string {
  const some = [...folders].slice(0, 3).map(printable).join(', ')
  const more = folders.size > 3 ? `, … (${folders.size} in all)` : ''
  return `left out: ${some}${more}; the hooks and settings of a .git would take effect here, and a .venv works only where it was created`
}

function omittedNote(paths: readonly string[]): string {
  const some = paths.slice(0, 3).map(printable).join(', ')
  return `${paths.length} symbolic link(s) that lead out of the folder were left out: ${some}${paths.length > 3 ? ', …' : ''}`
}

/**
 * A check that walks links as the kernel would, through the other links of the same tree: `..` after a link is the
 * parent of where the link leads. Where a link ends need not exist. The work of all checks together is bounded.
 */
export function createLinkCheck(
  links: ReadonlyMap<string, string>,
  names: NameRules = 'portable',
): (link: { readonly name: string; readonly path: string; readonly target?: string }) => boolean {
  let budget = 10_000_000
  return (link) => {
    const target = link.target ?? ''
    if (isForeign(target, names)) return true
    const at = link.path.split('/').slice(0, -1)
    const todo = partsFromEnd(target)
    let hops = 0
    for (let part = todo.pop(); part !== undefined; part = todo.pop()) {
      budget -= at.length + 1
      if (budget < 0 || hops > 40) throw refuse('link-loop', link.name, 'is a link that leads through too many links.')
      if (part === '..') {
        if (at.pop() === undefined) return true
        continue
      }
      at.push(part)
      const next = links.get(at.join('/'))
      if (next === undefined) continue
      if (isForeign(next, names)) return true
      at.pop()
      hops += 1
      todo.push(...partsFromEnd(next))
    }
    return false
  }
}

function isForeign(target: string, names: NameRules): boolean {
  return target.startsWith('/') || (names === 'portable' && (target.includes('\\') || /^[a-z]:/i.test(target)))
}

function partsFromEnd(target: string): string[] {
  return target
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .reverse()
}
