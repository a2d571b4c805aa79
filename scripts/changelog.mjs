/**
 * `npm run changelog -- 0.2.0`: at a release, moves the notes in changes/ to the top of CHANGELOG.md. A note has a line
 * `area:`, a line `kind:` (added, changed or fixed), and, after an empty line, what users notice.
 */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { root, runScript, Unready } from './prepare.mjs'

const KINDS = { added: 'Added', changed: 'Changed', fixed: 'Fixed' }
const CHANGES = path.join(root, 'changes')
const HEAD = '# Changelog\n'

/** @throws Unready that names the file, where a note is not as it has to be. */
export function readNote(file, text) {
  const { area, kind, what } = /^area: (?<area>.+)\nkind: (?<kind>.+)\n\n(?<what>.+)\n$/s.exec(text)?.groups ?? {}
  if (Object.hasOwn(KINDS, kind ?? '')) return { area, kind, what }
  throw new Unready(
    `${file} is no note: it needs a line "area: …", a line "kind: ${Object.keys(KINDS).join('|')}", an empty line, and a text.`,
  )
}

/** The part of CHANGELOG.md for one release, in Markdown. */
export function section(version, date, notes) {
  const parts = Object.entries(KINDS).flatMap(([kind, title]) => {
    const lines = notes.filter((note) => note.kind === kind).map(({ area, what }) => `- ${area}: ${what.trim()}`)
    return lines.length === 0 ? [] : [`### ${title}`, lines.toSorted().join('\n')]
  })
  return [`## ${version} (${date})`, ...parts].join('\n\n')
}

/** Every note in changes/, a folder that is gone after a release. */
export function readNotes() {
  if (!existsSync(CHANGES)) return []
  return readdirSync(CHANGES).map((name) => readNote(`changes/${name}`, readFileSync(path.join(CHANGES, name), 'utf8')))
}

async function release(version) {
  if (!/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version ?? ''))
    throw new Unready('Name the version: npm run changelog -- 0.2.0')
  const notes = readNotes()
  if (notes.length === 0) throw new Unready('changes/ has no note: nothing that users notice has changed.')
  const changelog = path.join(root, 'CHANGELOG.md')
  const before = existsSync(changelog) ? readFileSync(changelog, 'utf8').slice(HEAD.length) : ''
  const date = new Date().toISOString().slice(0, 10)
  writeFileSync(changelog, `${HEAD}\n${section(version, date, notes)}\n${before}`)
  rmSync(CHANGES, { recursive: true })
}

if (process.argv[1] === import.meta.filename) runScript(() => release(process.argv[2]))
