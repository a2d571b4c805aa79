import { chmod, mkdir, mkdtemp, readdir, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { fetchCode } from '../../src/host/fetch/fetch-code.ts'
import { createFolder, readTree, runFetch } from './servers.ts'

const local = { policy: { localFolders: true } }

describe('a local folder', () => {
  test('is copied with its links and modes, and never changed', async () => {
    await using source = await createFolder()
    await mkdir(path.join(source.path, 'd/empty'), { recursive: true })
    await writeFile(path.join(source.path, 'run.sh'), 'x', { mode: 0o755 })
    await writeFile(path.join(source.path, 'd/a'), 'a')
    await symlink('d/a', path.join(source.path, 'in'))
    await symlink('/nowhere/at/all', path.join(source.path, 'out'))
    const before = await readTree(source.path)
    const outcome = await runFetch(source.path, local)
    expect(outcome.failure).toBeUndefined()
    expect(outcome.tree).toEqual(before)
    expect(outcome.beside).toEqual(['workspace'])
    expect(await readTree(source.path)).toEqual(before)
  })

  test('keeps private folders private, and the text of its links byte for byte', async () => {
    await using source = await createFolder()
    await mkdir(path.join(source.path, 'private/sticky'), { recursive: true })
    await mkdir(path.join(source.path, 'fixed'))
    await writeFile(path.join(source.path, 'fixed/a'), 'a')
    const target = Buffer.from([0x63, 0x61, 0x66, 0xe9])
    await symlink(target, path.join(source.path, 'link'))
    for (const [name, mode] of Object.entries({ private: 0o700, 'private/sticky': 0o1777, fixed: 0o555 }))
      await chmod(path.join(source.path, name), mode)
    await using workspace = await createFolder()
    const targetDir = path.join(workspace.path, 'workspace')
    const policy = { codeHosts: [], unsafeHosts: [], localFolders: true }
    const { signal } = new AbortController()
    await fetchCode({ url: source.path, checksumSha256: null, policy, targetDir, signal, onStage: () => {} })
    const modeOf = async (name: string): Promise<number> => (await stat(path.join(targetDir, name))).mode & 0o7777
    expect(await Promise.all(['private', 'private/sticky', 'fixed'].map(modeOf))).toEqual([0o700, 0o777, 0o755])
    expect(await readlink(path.join(targetDir, 'link'), 'buffer')).toEqual(target)
  })

  test('brings a remark when .git and node_modules come along', async () => {
    await using source = await createFolder()
    await mkdir(path.join(source.path, '.git'))
    await mkdir(path.join(source.path, 'node_modules'))
    const { notes } = await runFetch(source.path, local)
    expect(notes).toEqual(['.git was copied with the folder', 'node_modules was copied with the folder'])
  })

  test('that does not exist, is a file, or is not allowed is refused', async () => {
    await using source = await createFolder()
    await writeFile(path.join(source.path, 'f'), '')
    expect((await runFetch(`${source.path}/none`, local)).failure?.reason).toBe('folder_not_found')
    expect((await runFetch(`${source.path}/f`, local)).failure?.detail).toContain('is not a folder')
    expect((await runFetch(source.path)).failure?.reason).toBe('bad_code_url')
  })

  test('with a socket in it is refused, and leaves nothing', async () => {
    await using source = await createFolder()
    await writeFile(path.join(source.path, 'a'), 'a')
    const server = net.createServer()
    await new Promise<void>((resolve) => server.listen(path.join(source.path, 'socket'), resolve))
    const { failure, tree } = await runFetch(source.path, local)
    await new Promise((resolve) => server.close(resolve))
    expect(failure).toMatchObject({ reason: 'bad_code_url' })
    expect(failure?.detail).toContain('/socket')
    expect(tree).toEqual({})
  })

  // On other systems the file system takes no such name.
  if (process.platform === 'linux')
    test('with a name that is not UTF-8 is refused with the reason', async () => {
      await using source = await createFolder()
      await writeFile(Buffer.concat([Buffer.from(`${source.path}/`), Buffer.from([0x61, 0xff])]), '')
      const { failure } = await runFetch(source.path, local)
      expect(failure).toMatchObject({ reason: 'bad_code_url' })
      expect(failure?.detail).toContain('its name is not UTF-8')
    })

  test('that exceeds the limits is refused', async () => {
    await using source = await createFolder()
    for (const name of ['a', 'b', 'c']) await writeFile(path.join(source.path, name), name.repeat(1000))
    const small = await runFetch(source.path, { ...local, deps: { limits: { unpackedBytes: 2500 } } })
    expect(small.failure).toMatchObject({ reason: 'code_too_large' })
    const few = await runFetch(source.path, { ...local, deps: { limits: { entries: 2 } } })
    expect(few.failure).toMatchObject({ reason: 'code_too_large' })
    expect(few.tree).toEqual({})
  })

  test('that contains the workspace is refused', async () => {
    await using source = await createFolder()
    const targetDir = path.join(source.path, 'data', 'workspace')
    const fetch = fetchCode({
      url: source.path,
      checksumSha256: null,
      policy: { codeHosts: [], unsafeHosts: [], localFolders: true },
      targetDir,
      signal: new AbortController().signal,
      onStage: () => {},
    })
    await expect(fetch).rejects.toMatchObject({ reason: 'bad_code_url' })
    expect(await readdir(targetDir)).toEqual([])
  })
})

describe('the workspace', () => {
  test('is emptied of what an earlier start left in it and beside it', async () => {
    await using parent = await createFolder()
    await using source = await createFolder()
    await writeFile(path.join(source.path, 'new'), 'n')
    const targetDir = path.join(parent.path, 'workspace')
    await mkdir(path.join(targetDir, 'old/deep'), { recursive: true })
    await mkdir(path.join(parent.path, '.workspace.fetch/tree'), { recursive: true })
    await writeFile(path.join(parent.path, '.workspace.fetch/download'), 'half')
    const before = await stat(targetDir)
    await fetchCode({
      url: source.path,
      checksumSha256: null,
      policy: { codeHosts: [], unsafeHosts: [], localFolders: true },
      targetDir,
      signal: new AbortController().signal,
      onStage: () => {},
    })
    expect(await readTree(parent.path)).toEqual({ workspace: '/', 'workspace/new': 'n' })
    expect((await stat(targetDir)).ino).toBe(before.ino)
  })

  test('on a file system of its own is prepared inside it, and nothing of that stays', async () => {
    // On Linux, /dev/shm is not on the file system of its parent; elsewhere this repeats the first case.
    const shm = await stat('/dev/shm').then(
      () => '/dev/shm',
      () => os.tmpdir(),
    )
    const targetDir = await mkdtemp(path.join(shm, 'cliscale-fetch-'))
    await using source = await createFolder()
    await writeFile(path.join(source.path, 'a'), '1')
    await chmod(targetDir, 0o700)
    await fetchCode({
      url: source.path,
      checksumSha256: null,
      policy: { codeHosts: [], unsafeHosts: [], localFolders: true },
      targetDir,
      signal: new AbortController().signal,
      onStage: () => {},
    })
    const tree = await readTree(targetDir)
    await rm(targetDir, { recursive: true })
    expect(tree).toEqual({ a: '1' })
  })
})
