import { mkdtempSync, rmSync, mkdirSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { expect, test } from '@jest/globals'
import { pathBeforeNpm, personEnvironment } from './person-environment.ts'

const npm = { npm_execpath: '/usr/lib/npm-cli.js' }
const OF_NPM = '/me/clone/node_modules/.bin:/me/node_modules/.bin:/node_modules/.bin:/usr/lib/npm/lib/node-gyp-bin'

test.each([
  ['removes what npm put in front', `${OF_NPM}:/usr/bin:/bin`, '/usr/bin:/bin'],
  ['removes it twice when an npm script called npm', `${OF_NPM}:${OF_NPM}:/usr/bin`, '/usr/bin'],
  [
    'keeps folders of the same names that the user added',
    `${OF_NPM}:/usr/bin:/me/other/node_modules/.bin:/x/node-gyp-bin`,
    '/usr/bin:/me/other/node_modules/.bin:/x/node-gyp-bin',
  ],
  ['keeps them at its start too', `${OF_NPM}:/me/node_modules/.bin:/usr/bin`, '/me/node_modules/.bin:/usr/bin'],
  [
    'removes nothing when npm’s last folder is missing',
    '/me/node_modules/.bin:/usr/bin',
    '/me/node_modules/.bin:/usr/bin',
  ],
  ['may leave nothing', OF_NPM, ''],
  ['keeps empty entries', `${OF_NPM}::/usr/bin:`, ':/usr/bin:'],
])('PATH under npm: %s', (_, given, expected) => {
  expect(pathBeforeNpm({ ...npm, PATH: given })).toBe(expected)
})

test('PATH stays as it is without npm, and absent when there is none', () => {
  expect(pathBeforeNpm({ PATH: `${OF_NPM}:/usr/bin` })).toBe(`${OF_NPM}:/usr/bin`)
  expect(pathBeforeNpm(npm)).toBeUndefined()
})

test('passes on the folders of version managers that exist, and no other variable', async () => {
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
