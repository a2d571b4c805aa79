import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { expect, test } from '@jest/globals'

const inside = readFileSync(path.join(import.meta.dirname, 'images/inside.mjs'), 'utf8')

function inspect(files) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'cs-image-'))
  try {
    for (const name of files) {
      mkdirSync(path.dirname(path.join(folder, name)), { recursive: true })
      writeFileSync(path.join(folder, name), '')
      chmodSync(path.join(folder, name), 0o666)
    }
    const about = JSON.stringify({ name: 'runner-slim', whole: folder, folder, forbidden: ['jest', '@types/node'] })
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', inside, about], { encoding: 'utf8' })
    return JSON.parse(stdout.trim().split('\n').at(-1)).faults.map((fault) => fault.replace(folder, ''))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('finds what does not belong in an image', () => {
  const faults = inspect([
    'node_modules/jest/package.json',
    'node_modules/express/node_modules/@types/node/package.json',
    'dist/a.test.js',
    'dist/a.js.map',
    'src/a.ts',
    'certificate/tls.key',
    '.env',
    '.npmrc',
  ])
  expect(faults).toEqual(
    expect.arrayContaining([
      'dev dependency jest',
      'dev dependency @types/node',
      '/dist/a.test.js',
      '/dist/a.js.map',
      '/src/a.ts',
      '/certificate/tls.key',
      '/.env',
      '/.npmrc',
      'it may write /dist/a.js.map',
    ]),
  )
  expect(faults.some((fault) => fault.startsWith('/opt/cliscale/bin/tini'))).toBe(true)
})

test('accepts what belongs in an image', () => {
  const ours = inspect(['dist/test-kit.js', 'node_modules/jest-like/index.js', 'node_modules/express/testing.js'])
  expect(
    ours.filter((fault) => fault.startsWith('dev') || fault.startsWith('/dist') || fault.startsWith('/node')),
  ).toEqual([])
})

test.each(['controller', 'ws-gateway', 'runner'])(
  "%s's Dockerfile copies every script that its build imports",
  (part) => {
    const root = path.join(import.meta.dirname, '..')
    const read = (file) => readFileSync(path.join(root, file), 'utf8')
    const copied = [...read(`${part}/Dockerfile`).matchAll(/^COPY (scripts\/.*) \S+$/gm)].flatMap(([, of]) =>
      of.split(' '),
    )
    const imported = copied.flatMap((file) =>
      [...read(file).matchAll(/ from '\.\/(.+)'/g)].map(([, name]) => `scripts/${name}`),
    )
    expect(copied).toEqual(expect.arrayContaining(imported))
    expect(read('.dockerignore').split('\n')).toEqual(expect.arrayContaining(copied.map((file) => `!${file}`)))
  },
)
