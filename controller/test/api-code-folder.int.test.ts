import { chmod, chown, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { createFolderCheck } from '../src/sessions/code-folder.ts'
import { type Api, startApi } from './api-system.ts'

const NOBODY = 65_534
let api: Api
let root: string

beforeAll(async () => {
  api = await startApi({ settings: { fetchPolicy: { codeHosts: [], unsafeHosts: [], localFolders: true } } })
  root = await mkdtemp(path.join(os.tmpdir(), 'cs-folder-'))
  await writeFile(path.join(root, 'file'), '')
  await mkdir(path.join(root, 'folder'))
  await symlink('nowhere', path.join(root, 'dangling'))
  await symlink('folder', path.join(root, 'link'))
  await symlink('loop', path.join(root, 'loop'))
})
afterAll(async () => {
  await api[Symbol.asyncDispose]()
  await rm(root, { recursive: true, force: true })
})

test.each([
  ['is missing', 'missing', 'names a folder that does not exist on this machine: correct the path, or create'],
  ['is behind a missing one', 'missing/inner', 'names a folder that does not exist on this machine: '],
  ['is behind a link to nothing', 'dangling', 'names a folder that does not exist on this machine: '],
  ['is a file', 'file', 'is not the path of a folder: give the folder that the code is in; '],
  ['is below a file', 'file/inner', 'is not the path of a folder: give the folder that the code is in; '],
  ['is a link to itself', 'loop', 'is a link that leads to itself'],
])('a code_url that %s is refused at once, with what to do', async (_name, at, message) => {
  const { status, json } = await api.create({ command: 'true', code_url: path.join(root, at) })
  expect([status, json.code]).toEqual([400, 'url_invalid'])
  expect(json.errors).toEqual([{ path: 'code_url', message: expect.stringContaining(message) }])
  expect(json.detail).toBe(`code_url ${json.errors[0]!.message}.`)
})

test.each(['folder', 'link', 'folder/.'])('a code_url that is %s is accepted', async (at) => {
  expect((await api.create({ command: 'true', code_url: `${root}/${at}` })).status).toBe(201)
})

test('a repeated request gets its session again, also when the folder has vanished meanwhile', async () => {
  const folder = path.join(root, 'vanishing')
  await mkdir(folder)
  const body = { command: 'true', code_url: folder }
  const create = (key: string) => api.create(body, { 'Idempotency-Key': key })
  const first = await create('once')
  await rm(folder, { recursive: true })
  const again = await create('once')
  expect([again.status, again.json.sessionId]).toEqual([201, first.json.sessionId])
  expect((await create('another')).status).toBe(400)
})

test.each([
  ['enter', 0o400],
  ['list', 0o100],
])('a folder that the server may not %s is refused', async (_name, mode) => {
  const folder = path.join(root, `mode-${mode}`)
  await mkdir(folder)
  await chmod(root, 0o755)
  await chmod(folder, mode)
  const isRoot = process.geteuid?.() === 0
  // Root may read everything: the look itself is taken as somebody else, to whom the folder belongs.
  if (isRoot) await chown(folder, NOBODY, NOBODY)
  if (isRoot) process.seteuid!(NOBODY)
  const refused = await createFolderCheck()(folder).catch((error: unknown) => error)
  if (isRoot) process.seteuid!(0)
  expect(refused).toMatchObject({ code: 'url_invalid', errors: [{ path: 'code_url' }] })
  expect((refused as Error).message).toContain('may not read: give its user the right to read and enter it')
})

test('a look that gets no answer holds up nobody for long, and only one waits at a time', async () => {
  const looks: string[] = []
  let answer = (_fault?: string): void => {}
  const check = createFolderCheck((folder) => {
    looks.push(folder)
    return folder === '/dead' ? new Promise((resolve) => (answer = resolve)) : Promise.resolve('is wrong')
  })
  await Promise.all(['/dead', '/dead', '/other'].map((folder) => check(folder)))
  expect(looks).toEqual(['/dead'])
  answer()
  await expect(check('/other')).rejects.toMatchObject({ detail: 'code_url is wrong.' })
  expect(looks).toEqual(['/dead', '/other'])
})
