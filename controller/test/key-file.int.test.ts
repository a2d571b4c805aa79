import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { createLogger } from '@cliscale/service-kit'
import { decodeProtectedHeader } from 'jose'
import { createFileSigner, type FileSigner } from '../src/tokens/key-file.ts'
import { generateSigningKey, kidOf, publicPem } from '../src/tokens/signer.ts'
import { expectEventually } from './launch-contract.ts'

const [A, B] = await Promise.all([generateSigningKey(), generateSigningKey()])
const [KID_A, KID_B] = [await kidOf(A), await kidOf(B)]
const OPTIONS = { type: 't', audience: 'a' }

let dir: string
let file: string
let log: string[]
let signer: FileSigner
beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'cliscale-keys-'))
  // As the kubelet mounts a Secret: the name is a link into a folder that is a link, and that one is swapped.
  await publish(A, 1)
  await symlink(path.join('..data', 'signing-key.pem'), path.join(dir, 'signing-key.pem'))
  file = path.join(dir, 'signing-key.pem')
  log = []
  const logger = createLogger({ service: 'test', destination: { write: (line) => void log.push(line) } })
  signer = await createFileSigner({ file, logger, everyMs: 20 })
})
afterEach(async () => {
  signer.close()
  await rm(dir, { recursive: true, force: true })
})

async function publish(text: string, version: number): Promise<void> {
  const folder = path.join(dir, `..${version}`)
  await mkdir(folder)
  await writeFile(path.join(folder, 'signing-key.pem'), text)
  await symlink(`..${version}`, path.join(dir, '..new'))
  await rename(path.join(dir, '..new'), path.join(dir, '..data'))
}
const kids = () => signer.jwks().keys.map(({ kid }) => kid)
const signs = async () => decodeProtectedHeader(await signer.sign({}, OPTIONS)).kid

test('follows a rotation step by step, and signs only with keys that are published', async () => {
  expect([kids(), await signs()]).toEqual([[KID_A], KID_A])
  await publish(`${A}${B}`, 2)
  await expectEventually(() => Promise.resolve(kids().length === 2))
  expect([kids(), await signs()]).toEqual([[KID_A, KID_B], KID_A])
  await publish(`${B}${A}`, 3)
  await expectEventually(async () => (await signs()) === KID_B)
  await publish(`${B}${publicPem(A)}`, 4)
  await expectEventually(() => Promise.resolve(kids().length === 1))
  expect(signer.hostJwks().keys.map(({ kid }) => kid)).toEqual([KID_B, KID_A])
  expect(log.join('')).not.toContain('PRIVATE')
})

test('keeps its keys when the file is gone, empty or broken, logs that once, and reads a repaired file', async () => {
  const told = () => log.filter((line) => line.includes('stay as they are'))
  await rm(path.join(dir, '..data'))
  await expectEventually(() => Promise.resolve(told().length === 1))
  for (const [i, text] of ['', 'canary', A.slice(0, 200), publicPem(A)].entries()) {
    if (i === 0) await publish(text, 10)
    else await writeFile(path.join(dir, '..10', 'signing-key.pem'), text)
    await signer.reload()
  }
  expect([kids(), await signs()]).toEqual([[KID_A], KID_A])
  const before = told().length
  await signer.reload()
  expect(told()).toHaveLength(before)
  await publish(B, 11)
  await expectEventually(async () => (await signs()) === KID_B)
  expect(log.join('')).not.toContain('canary')
})

test('refuses a file that is missing at the start', async () => {
  await expect(
    createFileSigner({ file: path.join(dir, 'none'), logger: createLogger({ service: 'test', level: 'silent' }) }),
  ).rejects.toThrow('ENOENT')
})
