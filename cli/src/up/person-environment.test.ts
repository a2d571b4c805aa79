import { mkdtempSync, rmSync, mkdirSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { expect, test } from '@jest/globals'
import { pathBeforeNpm, personEnvironment } from './person-environment.ts'

const npm = { npm_execpath: '/usr/lib/npm-cli.js' }
const OF_NPM = '/me/clone/node_modules/.bin:/me/node_modules/.bin:/node_modules/.bin:/usr/lib/npm/lib/node-gyp-bin'

test.each([
  ['what npm put before it goes', `${OF_NPM}:/usr/bin:/bin`, '/usr/bin:/bin'],
  ['also when a script of npm called npm', `${OF_NPM}:${OF_NPM}:/usr/bin`, '/usr/bin'],
  [
    'a person’s own stays',
    `${OF_NPM}:/usr/bin:/me/other/node_modules/.bin:/x/node-gyp-bin`,
    '/usr/bin:/me/other/node_modules/.bin:/x/node-gyp-bin',
  ],
  ['also at its beginning', `${OF_NPM}:/me/node_modules/.bin:/usr/bin`, '/me/node_modules/.bin:/usr/bin'],
  [
    'without the last folder of npm nothing is known of it',
    '/me/node_modules/.bin:/usr/bin',
    '/me/node_modules/.bin:/usr/bin',
  ],
  ['nothing may be left', OF_NPM, ''],
  ['empty folders stay', `${OF_NPM}::/usr/bin:`, ':/usr/bin:'],
])('PATH under npm: %s', (_, given, expected) => {
  expect(pathBeforeNpm({ ...npm, PATH: given })).toBe(expected)
})

test('PATH without npm, or no PATH, is as it is', () => {
  expect(pathBeforeNpm({ PATH: `${OF_NPM}:/usr/bin` })).toBe(`${OF_NPM}:/usr/bin`)
  expect(pathBeforeNpm(npm)).toBeUndefined()
})

test('the folders of version managers are named when they are there, and no other variable passes', async () => {
  const home = mkdtempSync(path.join(os.tmpdir(), 'cs-home-'))
  try {
    mkdirSync(path.join(home, '.pyenv'))
    writeFileSync(path.join(home, '.rustup'), 'no folder')
    const env = {
      HOME: home,
      PATH: '/bin',
      NVM_DIR: '/opt/nvm',
      VOLTA_HOME: '',
      AWS_SECRET_ACCESS_KEY: 'x',
      CARGO_HOME: home,
      npm_config_x: 'y',
    }
    expect(await personEnvironment(env)).toEqual({
      HOME: home,
      PATH: '/bin',
      NVM_DIR: '/opt/nvm',
      PYENV_ROOT: path.join(home, '.pyenv'),
    })
    expect(await personEnvironment({})).toEqual({})
  } finally {
    rmSync(home, { recursive: true })
  }
})
