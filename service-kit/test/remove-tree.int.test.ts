import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmod,
  chown,
  copyFile,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { removeTree } from '../src/remove-tree.ts'

const run = promisify(execFile)
const isRoot = process.getuid?.() === 0
const isLinux = process.platform === 'linux'
let dir: string
let tree: string
let elsewhere: string

beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'cliscale-tree-'))
  await chmod(dir, 0o777)
  tree = path.join(dir, 'tree')
  elsewhere = path.join(dir, 'elsewhere')
  await mkdir(path.join(elsewhere, 'kept'), { recursive: true })
  await writeFile(path.join(elsewhere, 'kept/file'), 'mine')
  await chmod(elsewhere, 0o555)
})

afterEach(async () => {
  expect((await stat(elsewhere)).mode & 0o777).toBe(0o555)
  expect(await readFile(path.join(elsewhere, 'kept/file'), 'utf8')).toBe('mine')
  await chmod(elsewhere, 0o755)
  await rm(dir, { recursive: true })
})

/** A user whom permissions bind: root ignores them all. */
const user = isRoot ? { uid: 65_534, gid: 65_534 } : {}

/** Removes as that user; its program is one file without dependencies, where the user may read. */
async function removeAsUser(target: string): Promise<void> {
  const program = path.join(dir, 'remove.mjs')
  await copyFile(new URL('../dist/remove-tree.js', import.meta.url), program)
  const script = `await (await import(${JSON.stringify(program)})).removeTree(${JSON.stringify(target)})`
  await run(process.execPath, ['--input-type=module', '-e', script], { ...user, cwd: '/' })
  await rm(program)
}

/** Files that the shell makes: names that are not text, pipes, depths that no path reaches. */
const shell = (script: string, as: object = {}): Promise<unknown> =>
  run('/bin/bash', ['-ec', script], { cwd: dir, ...as })

const left = async (): Promise<string[]> => (await readdir(dir)).filter((name) => name !== 'elsewhere')

test('removes a file and a link in place of a tree, and accepts a tree that does not exist', async () => {
  await removeTree(tree)
  await removeTree(path.join(tree, 'no/such/folder'))
  await writeFile(tree, '')
  await removeTree(tree)
  await symlink(elsewhere, tree)
  await removeTree(tree)
  expect(await left()).toEqual([])
})

test('removes links wherever they lead, and keeps what they lead to', async () => {
  await mkdir(path.join(tree, 'deep/er'), { recursive: true })
  for (const at of ['a', 'deep/b', 'deep/er/c']) await symlink(elsewhere, path.join(tree, at))
  await symlink('..', path.join(tree, 'deep/er/up'))
  await symlink('nowhere', path.join(tree, 'deep/dangling'))
  await removeTree(tree)
  expect(await left()).toEqual([])
})

test('removes folders that their owner may neither write, read nor enter', async () => {
  const make = `mkdir -p tree/{a,b,c}/in/ner; touch tree/{a,b,c}/in/ner/file; ln -s "$PWD/elsewhere" tree/a/in/link
    chmod 555 tree/a/in/ner tree/a/in tree/a; chmod 000 tree/b/in/ner tree/b/in tree/b; chmod 300 tree/c; chmod 500 tree`
  await shell(make, user)
  await removeAsUser(tree)
  expect(await left()).toEqual([])
})

test('removes names that are not text, a pipe, and a socket', async () => {
  await mkdir(tree)
  const server = net.createServer().listen(path.join(tree, 'socket'))
  await once(server, 'listening')
  await shell(
    String.raw`cd tree; mkfifo pipe; mkdir $'\xff\xfe' ' ' $'new\nline' -- -rf; touch $'\xff\xfe/\xc3' $'new\nline/ ' ./-rf/--`,
  )
  await removeTree(tree)
  server.close()
  expect(await left()).toEqual([])
})

test('removes 2,000 nested folders, which no path reaches', async () => {
  const dig = `const fs = require('fs')
    for (let i = 0; i < 2000; i++) { fs.mkdirSync('0123456789'); process.chdir('0123456789') }
    fs.writeFileSync('file', ''); fs.chmodSync('.', 0o555)`
  await mkdir(tree)
  if (isRoot) await chown(tree, 65_534, 65_534)
  await run(process.execPath, ['-e', dig], { ...user, cwd: tree })
  await removeAsUser(tree)
  expect(await left()).toEqual([])
})

test('removes 5,000 files in one folder', async () => {
  await shell('mkdir -p tree/a; cd tree/a; seq 5000 | xargs touch')
  await removeTree(tree)
  expect(await left()).toEqual([])
})

test('removes a folder that a program keeps exchanging for a link, and nothing outside it', async () => {
  await shell('mkdir tree')
  const program = `const fs = require('fs'), d = process.argv[1] + '/d', l = process.argv[1] + '/l'
    const tried = (work) => { try { work() } catch {} }
    for (const end = Date.now() + 400; Date.now() < end;) {
      tried(() => fs.mkdirSync(d + '/kept', { recursive: true })); tried(() => fs.writeFileSync(d + '/kept/file', ''))
      tried(() => fs.symlinkSync(process.argv[2], l)); tried(() => fs.renameSync(d, d + Math.random())); tried(() => fs.renameSync(l, d))
      tried(() => fs.unlinkSync(d))
    }`
  const child = spawn(process.execPath, ['-e', program, tree, elsewhere], { stdio: 'ignore' })
  const ended = once(child, 'exit')
  while (child.exitCode === null) await removeTree(tree).catch(() => {})
  await ended
  await removeTree(tree)
  expect(await left()).toEqual([])
})

if (!isRoot || !isLinux) console.log('immutable files and mounts are not tested: making them takes root on Linux')
else {
  describe('as root', () => {
    afterEach(() =>
      shell('chattr -R -i tree 2>/dev/null || true; umount tree/*/mounted 2>/dev/null || true; rm -rf tree'),
    )

    test('leaves links in an immutable folder, names the first, and removes everything around them', async () => {
      await shell(
        'mkdir -p tree/{a,d/in/ner,z}; touch tree/{a,z,d/in/ner}/file; ln -s "$PWD/elsewhere" tree/d/link; chattr +i tree/d',
      )
      const fault = await removeTree(tree).catch((error: Error) => error.message)
      expect(fault).toMatch(
        /^\/.*\/tree\/d\/\S+ cannot be removed: it is immutable or belongs to another user \(EPERM\); \d more cannot be removed either$/,
      )
      expect(await readdir(tree)).toEqual(['d'])
      expect(await readdir(path.join(tree, 'd'))).toEqual(['in', 'link'])
      expect(await readdir(path.join(tree, 'd/in'))).toEqual([])
    })

    test.each([
      ['another file system', 'mount -t tmpfs none tree/a/mounted'],
      ['a part of the same file system', 'mount --bind elsewhere tree/a/mounted'],
    ])('does not enter %s mounted inside the tree', async (_, mount) => {
      await shell(`mkdir -p tree/a/mounted tree/b; ${mount}; touch tree/b/file`)
      await writeFile(path.join(tree, 'a/mounted/kept/file'), 'mine').catch(() => {})
      await expect(removeTree(tree)).rejects.toThrow(/mounted cannot be removed: something is mounted there \(E\w+\)/)
      expect(await left()).toEqual(['tree'])
      expect(await readdir(tree)).toHaveLength(1)
    })
  })
}

test('closes all its file descriptors', async () => {
  const open_ = async (): Promise<number> => (await readdir(isLinux ? '/proc/self/fd' : '/dev/fd')).length
  await using probe = await open(dir, 'r')
  expect(probe.fd).toBeGreaterThan(0)
  const before = await open_()
  await shell('mkdir -p tree/a/b/c')
  await shell('chmod 000 tree/a')
  await removeTree(tree)
  expect(await open_()).toBe(before)
})
