import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from '@jest/globals'

const root = fileURLToPath(new URL('..', import.meta.url))
const { stdout } = spawnSync('git', ['ls-files', '-z', '*.md'], { cwd: root, encoding: 'utf8' })
const documents = stdout.split('\0').filter((file) => file !== '' && existsSync(path.join(root, file)))

describe.each(documents)('%s', (file) => {
  const text = readFileSync(path.join(root, file), 'utf8')

  test('links only to files and headings that exist', () => {
    const broken = linksOf(text).filter((link) => !leadsSomewhere(file, link))
    expect(broken).toEqual([])
  })
})

test('every test that docs/invariants.md and CONTRIBUTING.md name exists', () => {
  for (const file of ['docs/invariants.md', 'CONTRIBUTING.md']) {
    const text = readFileSync(path.join(root, file), 'utf8')
    const named = [...text.matchAll(/`([\w.-]+(?:\/[\w.-]+)+\.(?:ts|mjs|json|md|yaml))`/g)].map((match) => match[1])
    expect(named.length).toBeGreaterThan(5)
    expect(named.filter((name) => !existsSync(path.join(root, name)))).toEqual([])
  }
})

test('finds a link to a missing heading', () => {
  expect(linksOf('[a](b.md) ![p](q.png "t") [c](#d)\n```\n[no](x)\n```\n`[no](y)`')).toEqual(['b.md', 'q.png', '#d'])
  expect(leadsSomewhere('README.md', 'docs/design.md#tokens')).toBe(true)
  expect(leadsSomewhere('README.md', 'docs/design.md#no-such-heading')).toBe(false)
  expect(leadsSomewhere('README.md', 'docs/no-such-file.md')).toBe(false)
})

/** Targets of links and images outside of code. */
function linksOf(text) {
  const prose = text.replaceAll(/^```[\s\S]*?^```/gm, '').replaceAll(/`[^`\n]*`/g, '')
  return [...prose.matchAll(/\]\(([^()\s]+)(?:\s+"[^"]*")?\)/g)].map((match) => match[1])
}

function leadsSomewhere(from, link) {
  if (/^[a-z]+:/.test(link)) return true
  const [target, heading] = link.split('#')
  const file = path.resolve(root, path.dirname(from), target === '' ? path.basename(from) : target)
  if (!existsSync(file)) return false
  return heading === undefined || headingsOf(readFileSync(file, 'utf8')).includes(heading)
}

/** Anchors as GitHub makes them from headings. */
function headingsOf(text) {
  return [...text.matchAll(/^#+ (.+)$/gm)].map((match) =>
    match[1]
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}
