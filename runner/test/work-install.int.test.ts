import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, test } from '@jest/globals'
import { DEFAULT_SIZE } from '@cliscale/contract'
import type { PreparedOrder } from '../src/relay/messages.ts'
import { TERMINAL_RESET } from '../src/relay/stage-lines.ts'
import { order, type Result, runOrder, startWork } from './relay-peer.ts'
import { TestEmulator } from './terminal-emulator.ts'

interface Picture {
  readonly lines: readonly string[]
  readonly [what: string]: unknown
}

/** Runs a command in a folder with these files, after what they ask to install. */
async function installAndRun(
  files: Record<string, string>,
  command: string,
  rest: Partial<PreparedOrder> & { prepare?: (workspace: string) => void } = {},
): Promise<Result & { text: string }> {
  const { prepare, ...given } = rest
  await using work = startWork()
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(work.workspaceDir, name)), { recursive: true })
    writeFileSync(path.join(work.workspaceDir, name), text)
  }
  prepare?.(work.workspaceDir)
  const link = await work.connect()
  const result = await runOrder(link, order(command, { installCmd: null, ...given }))
  return { ...result, text: result.output.toString().replaceAll('\r\n', '\n') }
}

const manifest = (more: object = {}): string => JSON.stringify({ name: 'app', version: '1.0.0', ...more })
const WITH_DEPENDENCY = {
  'dep/package.json': JSON.stringify({ name: 'dep', version: '1.0.0', bin: 'greet.js' }),
  'dep/greet.js': '#!/usr/bin/env node\nconsole.log("hello of dep")\n',
  'package.json': manifest({ dependencies: { dep: 'file:dep' }, scripts: { postinstall: 'env > seen' } }),
  'package-lock.json': JSON.stringify({
    name: 'app',
    version: '1.0.0',
    lockfileVersion: 3,
    requires: true,
    packages: {
      '': { name: 'app', version: '1.0.0', dependencies: { dep: 'file:dep' }, hasInstallScript: true },
      dep: { version: '1.0.0', bin: { dep: 'greet.js' } },
      'node_modules/dep': { resolved: 'dep', link: true },
    },
  }),
}

describe('an install that the files ask for', () => {
  test('says what it runs and why, draws nothing, and has an environment that the command does not inherit', async () => {
    const look = 'node_modules/.bin/dep; grep -E "^(CI|npm_config_(progress|fund))=" seen | sort; echo "[${CI-}]"'
    const { exit, stages, text } = await installAndRun(WITH_DEPENDENCY, look, { env: { npm_config_fund: 'true' } })
    expect(exit).toMatchObject({ phase: 'command', exitCode: 0 })
    expect(stages.map(({ name }) => name)).toEqual(['installing', 'running'])
    expect(text).toContain('\x1b[2m── npm ci, because there is a package-lock.json\x1b[0m\n')
    expect(text).toMatch(/── installed in \d+\.\d s/)
    // npm draws its spinner because of these.
    expect(text).not.toMatch(/[\u2800-\u28ff]|\x1b\[\d*[GKA]/)
    expect(text).toMatch(/hello of dep\nCI=1\nnpm_config_fund=true\nnpm_config_progress=\n?f?a?l?s?e?/)
    expect(text.endsWith('[]\n')).toBe(true)
  }, 30_000)

  test('gets an end of input when it asks a question', async () => {
    const ask = { scripts: { preinstall: 'read -p "Your name? " name; echo "$? [$name]"; tty || true' } }
    const { exit, text } = await installAndRun({ 'package.json': manifest(ask) }, 'test -t 0 && echo typed into')
    expect(text).toContain('1 []\nnot a tty')
    expect(text.endsWith('typed into\n')).toBe(true)
    expect(exit.exitCode).toBe(0)
  }, 30_000)

  test('that fails is named, with its exit code', async () => {
    const { exit, text } = await installAndRun(
      { 'package.json': manifest({ scripts: { preinstall: 'exit 7' } }) },
      'touch ../ran',
    )
    expect(exit).toMatchObject({ phase: 'install', exitCode: 7, ran: 'npm install', failure: null })
    expect(text).toContain('── the install command failed')
  }, 30_000)

  test('whose tool is missing runs nothing, and says what to do', async () => {
    const { exit, stages, text } = await installAndRun({ 'package.json': manifest() }, 'touch ../ran', {
      env: { PATH: '/nowhere' },
    })
    expect(exit).toMatchObject({ phase: 'install', exitCode: null, signal: null })
    expect(exit.failure).toMatchObject({
      reason: 'install_failed',
      detail: expect.stringMatching(/^npm was not found/),
    })
    expect(stages.map(({ name }) => name)).toEqual(['installing'])
    expect(text).toContain(exit.failure!.detail)
  })

  test('leaves nothing running', async () => {
    const start = { scripts: { postinstall: 'sleep 300 & echo $! > left' } }
    const { text } = await installAndRun({ 'package.json': manifest(start) }, 'ps -o stat= -p $(cat left)')
    expect(text).toMatch(/s\x1b\[0m\n(Z.*\n)?$/) // a zombie, where nobody waits for orphans
  }, 30_000)

  test('that is not needed prints no line', async () => {
    expect((await installAndRun({ 'go.mod': '', 'index.js': '' }, 'echo only this')).text).toBe('only this\n')
  })
})

test('by an install command of the order is quiet and without input too, and no line says why', async () => {
  const { exit, text } = await installAndRun({ 'package.json': manifest() }, 'echo "[${CI-}]"', {
    installCmd: 'echo "CI=$CI"; cat; echo $?',
  })
  expect(text).toMatch(/^CI=1\n0\n\x1b\[2m── installed in \S+ s\x1b\[0m\n\[\]\n$/)
  expect(exit.ran).toBeUndefined()
})

const STATE = {
  'colours, flags and a link': '\x1b[1;31;44m\x1b]8;;http://a/\x07red',
  'the alternate screen': 'before\x1b[?1049hmenu',
  'no cursor, and the mouse': '\x1b[?25l\x1b[?1002h\x1b[?1006h\x1b[?1004h',
  'a scroll region, origin mode and no wrap': '\x1b[2;5r\x1b[?6h\x1b[?7l',
  'lines for letters, application keys, bracketed paste': '\x1b(0\x0e\x1b[?1h\x1b=\x1b[?2004h',
  'a bar for a cursor, and insertion': '\x1b[5 q\x1b[4h',
  'a sequence without an end': '\x1b]0;title',
}
test.each(Object.entries(STATE))('of what an install leaves, the command does not find %s', async (_what, state) => {
  const installCmd = `printf '%b' ${JSON.stringify(state)}`
  const { output } = await installAndRun({}, 'echo the command', { installCmd })
  using emulator = new TestEmulator(DEFAULT_SIZE)
  emulator.write(output)
  using clean = new TestEmulator(DEFAULT_SIZE)
  clean.write('the command\r\n')
  await Promise.all([emulator.settled(), clean.settled()])
  const left = emulator.picture() as Picture
  const { lines, type, modes, hidden, mouse, style, margins } = clean.picture() as Picture
  expect(left).toMatchObject({ type, modes, hidden, mouse, style, margins })
  expect(left.lines.filter((line) => line.startsWith('the command'))).toEqual([lines[0]])
  expect(left.lines.join('')).toContain('── installed in ')
})

test('an install that fails leaves a terminal in which the reason can be read', async () => {
  const { text } = await installAndRun({}, 'true', { installCmd: 'printf "\\033[?1049h\\033[?25l"; exit 4' })
  expect(text.indexOf(TERMINAL_RESET)).toBeGreaterThan(0)
  expect(text.indexOf(TERMINAL_RESET)).toBeLessThan(text.indexOf('── the install command failed'))
})

const hasVenv = spawnSync('python3', ['-c', 'import venv, ensurepip'], { stdio: 'ignore' }).status === 0
if (hasVenv) {
  describe('requirements.txt', () => {
    const bin = mkdtempSync(path.join(os.tmpdir(), 'cs-no-uv-'))
    // uv would fetch pip over the network.
    writeFileSync(path.join(bin, 'uv'), '#!/bin/sh\nexit 1\n')
    chmodSync(path.join(bin, 'uv'), 0o755)
    afterAll(() => rmSync(bin, { recursive: true, force: true }))
    const env = { PATH: `${bin}:${process.env['PATH']}`, PIP_NO_INDEX: '1' }

    test('is installed into a .venv of its own, whose programs come first for the command; a copied .venv is not used', async () => {
      const look = 'which python pip greet; greet; python -c "import sys; print(sys.prefix)"; echo $VIRTUAL_ENV'
      let workspace = ''
      const { exit, text } = await installAndRun(
        // As PowerShell writes it.
        { 'requirements.txt': '\uFEFF# ours\r\n./greet-1.0-py3-none-any.whl\r\n' },
        look,
        {
          env,
          prepare: (folder) => {
            workspace = folder
            writeWheel(folder)
            mkdirSync(path.join(folder, 'theirs/bin'), { recursive: true })
            symlinkSync('theirs', path.join(folder, '.venv'))
            for (const name of ['python', 'python3', 'pip']) {
              writeFileSync(path.join(folder, 'theirs/bin', name), '#!/bin/sh\necho theirs\n')
              chmodSync(path.join(folder, 'theirs/bin', name), 0o755)
            }
          },
        },
      )
      expect(text).toContain(
        '── python -m pip install -r requirements.txt, because there is a requirements.txt; into .venv',
      )
      const venv = path.join(workspace, '.venv')
      const programs = ['python', 'pip', 'greet'].map((name) => `${venv}/bin/${name}\n`).join('')
      expect(text.endsWith(`${programs}hello of greet\n${venv}\n${venv}\n`)).toBe(true)
      expect(exit).toMatchObject({ phase: 'command', exitCode: 0 })
    }, 60_000)
  })
} else console.log('pip is not tested: python3 or its modules venv and ensurepip are missing.')

/** A package with a program in it. */
function writeWheel(folder: string): void {
  const files = {
    'greet.py': 'def main():\n    print("hello of greet")\n',
    'greet-1.0.dist-info/METADATA': 'Metadata-Version: 2.1\nName: greet\nVersion: 1.0\n',
    'greet-1.0.dist-info/WHEEL': 'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
    'greet-1.0.dist-info/entry_points.txt': '[console_scripts]\ngreet = greet:main\n',
    'greet-1.0.dist-info/RECORD': '',
  }
  const zip =
    'import json, sys, zipfile\nwith zipfile.ZipFile("greet-1.0-py3-none-any.whl", "w") as z:\n  for n, t in json.load(sys.stdin).items(): z.writestr(n, t)'
  execFileSync('python3', ['-c', zip], { cwd: folder, input: JSON.stringify(files) })
}
