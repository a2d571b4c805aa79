import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { access, mkdir, writeFile } from 'node:fs/promises'
import http from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from '@jest/globals'
import type { FetchPolicy } from '@cliscale/contract'
import { fetchCode } from '../../src/host/fetch/fetch-code.ts'
import { createCertificate } from './certificate.ts'
import { createRepository, git, startGitServer } from './git-server.ts'
import { createFolder, type Outcome, runFetch, startServer, type TestServer } from './servers.ts'

function unsafe(...servers: { port: number }[]): { policy: Partial<FetchPolicy> } {
  return { policy: { unsafeHosts: servers.map(({ port }) => `127.0.0.1:${port}`) } }
}

/** The tree without the content of .git. */
function files(outcome: Outcome): Record<string, string> {
  return Object.fromEntries(Object.entries(outcome.tree).filter(([name]) => !name.startsWith('.git/')))
}

const clone = (server: TestServer, options = {}): Promise<Outcome> =>
  runFetch(`${server.origin}/owner/repo.git`, { ...unsafe(server), ...options })

describe('a git repository', () => {
  test('is cloned with its newest commit, and git works in it', async () => {
    await using root = await createFolder()
    const folder = await createRepository(root.path, { 'a.txt': '1', 'run.sh': 'x', 'd/b': '2' })
    await git(folder, 'update-index', '--chmod=+x', 'run.sh')
    await git(folder, 'commit', '-q', '-m', 'two')
    await using server = await startGitServer(root.path)
    const outcome = await clone(server)
    expect(outcome.failure).toBeUndefined()
    expect(files(outcome)).toEqual({ '.git': '/', 'a.txt': '1', d: '/', 'd/b': '2', 'run.sh': 'x' })
    expect(outcome.notes.join()).toMatch(/^only this commit .* git fetch --unshallow --tags/)
    expect(outcome.beside).toEqual(['workspace'])
    expect(Object.keys(outcome.tree).filter((name) => name.startsWith('.git/hooks/'))).toEqual([])
    // Neither the proxy nor its password stays behind.
    expect(outcome.tree['.git/config']).not.toMatch(/proxy|git:/)
    expect(outcome.tree['.git/shallow']).toBeDefined()
  })

  test('is fetched over https through a proxy’s tunnel, with TLS from end to end', async () => {
    await using root = await createFolder()
    await createRepository(root.path, { 'a.txt': '1' })
    await using inner = await startGitServer(root.path)
    const { key, cert } = createCertificate()
    const server = https.createServer({ key, cert }, (request, response) => {
      const { method = 'GET', headers } = request
      request.pipe(
        http.request(`${inner.origin}${request.url}`, { method, headers, agent: false }, (answer) => {
          response.writeHead(answer.statusCode ?? 502, answer.headers)
          answer.pipe(response)
        }),
      )
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const url = `https://127.0.0.1:${port}/owner/repo.git`
    const trusted = await runFetch(url, { ...unsafe({ port }), deps: { ca: cert } })
    const untrusted = await runFetch(url, unsafe({ port }))
    await new Promise((resolve) => server.close(resolve))
    expect(trusted.failure).toBeUndefined()
    expect(files(trusted)).toEqual({ '.git': '/', 'a.txt': '1' })
    expect(untrusted.failure?.reason).toBe('download_failed')
    expect(untrusted.failure?.detail).toMatch(/certificate/)
  })

  test('G5: is cloned without hooks, templates or settings of the environment', async () => {
    await using root = await createFolder()
    await createRepository(root.path, { 'a.txt': '1' })
    const hooks = path.join(root.path, 'template', 'hooks')
    await mkdir(hooks, { recursive: true })
    const mark = path.join(root.path, 'ran')
    await writeFile(path.join(hooks, 'post-checkout'), `#!/bin/sh\ntouch ${mark}\n`, { mode: 0o755 })
    await using server = await startGitServer(root.path)
    const env = {
      PATH: process.env['PATH'],
      GIT_TEMPLATE_DIR: path.join(root.path, 'template'),
      GIT_CONFIG_PARAMETERS: `'core.hooksPath=${hooks}'`,
      GIT_SSH_COMMAND: `touch ${mark}`,
      GIT_EXEC_PATH: '/nonexistent',
    }
    const outcome = await clone(server, { deps: { env } })
    expect(outcome.failure).toBeUndefined()
    await expect(access(mark)).rejects.toThrow('ENOENT')
  })

  test('G6: gets links that lead outside as plain files, and other links as links', async () => {
    await using root = await createFolder()
    await createRepository(root.path, {
      'a.txt': '1',
      in: '-> a.txt',
      'd/up': '-> ../a.txt',
      out: '-> /etc/passwd',
      up: '-> ../x',
      cur: '-> .',
      par: '-> cur/..',
    })
    await using server = await startGitServer(root.path)
    const outcome = await clone(server)
    expect(outcome.failure).toBeUndefined()
    expect(files(outcome)).toMatchObject({
      in: '-> a.txt',
      'd/up': '-> ../a.txt',
      cur: '-> .',
      out: '/etc/passwd',
      up: '../x',
      par: 'cur/..',
    })
    expect(outcome.notes.join()).toMatch(/^3 symbolic link\(s\)/)
  })

  test('G7: is cloned without submodules, whatever their names and addresses', async () => {
    await using root = await createFolder()
    const folder = await createRepository(root.path, {
      '.gitmodules':
        '[submodule "../../x"]\n\tpath = sub\n\turl = ext::sh -c touch% /tmp/x\n[submodule "b"]\n\tpath = "b\\r"\n\turl = ../b\n',
    })
    const commit = await git(folder, 'rev-parse', 'HEAD')
    await git(folder, 'update-index', '--add', '--cacheinfo', `160000,${commit},sub`)
    await git(folder, 'update-index', '--add', '--cacheinfo', `160000,${commit},b`)
    await git(folder, 'commit', '-q', '-m', 'subs')
    await using server = await startGitServer(root.path)
    const outcome = await clone(server)
    expect(outcome.failure).toBeUndefined()
    expect(outcome.notes[0]).toBe('submodules are not fetched; 2 listed')
    expect(Object.keys(outcome.tree).filter((name) => name.startsWith('.git/modules'))).toEqual([])
  })

  test('G7: whose tree has two names that a file system treats as one is refused', async () => {
    await using root = await createFolder()
    const folder = await createRepository(root.path, { 'A/x': '1', link: '-> A' })
    const blob = await git(folder, 'hash-object', '-w', 'link-target')
    await git(folder, 'update-index', '--add', '--cacheinfo', `120000,${blob},a`)
    await git(folder, 'commit', '-q', '-m', 'twins')
    await using server = await startGitServer(root.path)
    const { failure, tree } = await clone(server)
    expect(failure?.reason).toBe('archive_refused')
    expect(failure?.detail).toContain('same-name-in-another-form')
    expect(tree).toEqual({})
  })

  test('G9: that redirects to another internal host is refused when that host is dialled', async () => {
    await using inner = await startServer((_request, response) => void response.end())
    await using outer = await startServer((request, response) => {
      response.writeHead(302, { location: `${inner.origin}${request.url}` }).end()
    })
    const { failure } = await clone(outer)
    expect(failure?.reason).toBe('code_host_refused')
    expect(inner.requests).toEqual([])
  })

  test('G9: that redirects to another protocol is refused', async () => {
    await using server = await startServer((_request, response) => {
      response.writeHead(302, { location: 'ftp://127.0.0.1/owner/repo.git/info/refs' }).end()
    })
    const { failure } = await clone(server)
    expect(failure?.reason).toMatch(/code_host_refused|download_failed/)
  })

  test('G10: over the size limit is ended', async () => {
    await using root = await createFolder()
    const { randomBytes } = await import('node:crypto')
    await createRepository(root.path, { big: randomBytes(300_000).toString('base64') })
    await using server = await startGitServer(root.path)
    const { failure, beside } = await clone(server, { deps: { limits: { downloadBytes: 100_000 } } })
    expect(failure?.reason).toBe('code_too_large')
    expect(beside).toEqual(['workspace'])
  })

  test('G10: with a commit that unpacks to too much or too many files is refused before a file is written', async () => {
    await using root = await createFolder()
    await createRepository(root.path, { zeros: '0'.repeat(1_000_000), b: '', c: '' })
    await using server = await startGitServer(root.path)
    const large = await clone(server, { deps: { limits: { unpackedBytes: 100_000 } } })
    expect(large.failure?.detail).toMatch(/^too-large: "zeros"/)
    const many = await clone(server, { deps: { limits: { entries: 2 } } })
    expect(many.failure?.detail).toMatch(/^too-many-entries/)
    expect(many.tree).toEqual({})
  })

  test('G10: on a server that never answers is ended, and no git process stays', async () => {
    await using server = await startServer(() => {})
    const { failure, beside } = await clone(server, { deps: { limits: { totalMs: 700 } } })
    expect(failure?.reason).toBe('download_timeout')
    expect(beside).toEqual(['workspace'])
    const { stdout } = await promisify(execFile)('ps', ['-eo', 'args'])
    expect(stdout).not.toContain(`127.0.0.1:${server.port}/owner`)
  })

  test('G11: that is private is refused without a prompt', async () => {
    await using server = await startServer((_request, response) => {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
    })
    const { failure } = await clone(server)
    expect(failure?.reason).toBe('auth_required')
  })

  test('G12: with Git LFS pointers brings their number', async () => {
    await using root = await createFolder()
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${'a'.repeat(64)}\nsize 12345\n`
    await createRepository(root.path, {
      '.gitattributes': '*.bin filter=lfs diff=lfs merge=lfs -text\n',
      'a.bin': pointer,
    })
    await using server = await startGitServer(root.path)
    const outcome = await clone(server)
    expect(outcome.tree['a.bin']).toBe(pointer)
    expect(outcome.notes).toEqual(['1 file(s) are Git LFS pointers; their content is not fetched'])
  })

  test('that is empty, missing or not a repository is named', async () => {
    await using root = await createFolder()
    await mkdir(path.join(root.path, 'owner', 'repo'), { recursive: true })
    await using server = await startGitServer(root.path)
    await git(path.join(root.path, 'owner', 'repo'), 'init', '-q')
    expect((await clone(server)).failure).toMatchObject({ reason: 'ref_not_found' })
    const missing = await runFetch(`${server.origin}/owner/none.git`, unsafe(server))
    expect(missing.failure?.reason).toBe('auth_required')
    await using page = await startServer((_request, response) => void response.end('<html>'))
    expect((await clone(page)).failure?.detail).toContain('no git repository')
  })

  test('where there is no git is refused with what to do', async () => {
    await using server = await startServer(() => {})
    const { failure } = await clone(server, { deps: { env: { PATH: '/nonexistent' } } })
    expect(failure?.reason).toBe('bad_code_url')
    expect(failure?.detail).toMatch(/machine that runs the session has no git/)
  })
})

describe('a place in a repository', () => {
  /** A repository with branches, tags, a commit without a name, and a ref of another kind. */
  async function createHistory(root: string): Promise<{ middle: string; first: string }> {
    const folder = await createRepository(root, { 'a.txt': '1', 'd/sub/x': 'x', 'd/[s]': 'odd', 'd/up': '-> ../a.txt' })
    const first = await git(folder, 'rev-parse', 'HEAD')
    await git(folder, 'tag', '-a', 'v1.0', '-m', 'v1.0')
    const commit = async (text: string): Promise<string> => {
      await writeFile(path.join(folder, 'a.txt'), text)
      await git(folder, 'add', 'a.txt')
      await git(folder, 'commit', '-q', '-m', text)
      return git(folder, 'rev-parse', 'HEAD')
    }
    const middle = await commit('2')
    await commit('3')
    await git(folder, 'checkout', '-q', '-b', 'feature/a/b', 'v1.0')
    await commit('feature')
    await git(folder, 'branch', 'twin', 'main')
    await git(folder, 'tag', 'twin', first)
    await git(folder, 'update-ref', 'refs/pull/7/head', middle)
    await git(folder, 'checkout', '-q', 'main')
    return { middle, first }
  }

  test('is the branch, tag, commit or other ref after "#", in "?ref=", or in npm\'s form', async () => {
    await using root = await createFolder()
    const { middle, first } = await createHistory(root.path)
    await using server = await startGitServer(root.path)
    const base = `${server.origin}/owner/repo`
    const rows: [string, string][] = [
      [`${base}.git`, '3'],
      [`${base}.git#main`, '3'],
      [`${base}.git#refs/heads/main`, '3'],
      [`${base}.git#v1.0`, '1'],
      [`${base}.git?ref=v1.0`, '1'],
      [`git+${base}.git#v1.0`, '1'],
      [`git+${base}#feature/a/b`, 'feature'],
      [`${base}.git/#feature%2Fa%2Fb`, 'feature'],
      [`${base}.git#${middle}`, '2'],
      [`${base}.git#${first.slice(0, 7)}`, '1'],
      [`${base}.git#twin`, '3'],
      [`${base}.git#refs/tags/twin`, '1'],
      [`${base}.git#refs/pull/7/head`, '2'],
      [`${base}/pull/7`, '2'],
      [`${base}/commit/${middle}`, '2'],
    ]
    const seen = await Promise.all(
      rows.map(async ([url]) => {
        const outcome = await runFetch(url, unsafe(server))
        return [url, outcome.failure?.detail ?? outcome.tree['a.txt']]
      }),
    )
    expect(seen).toEqual(rows)
  })

  test('is the folder of a page of GitLab, Gitea, Forgejo or Bitbucket, and nothing else', async () => {
    await using root = await createFolder()
    const { middle } = await createHistory(root.path)
    await using server = await startGitServer(root.path)
    for (const rest of [
      '-/tree/feature/a/b/d',
      '-/tree/main/d?ref_type=heads',
      'src/branch/feature/a/b/d',
      'src/tag/v1.0/d',
      `src/commit/${middle}/d/`,
      'src/twin/d',
    ]) {
      const outcome = await runFetch(`${server.origin}/owner/repo/${rest}`, unsafe(server))
      expect(outcome.failure).toBeUndefined()
      expect(outcome.tree).toEqual({ '[s]': 'odd', sub: '/', 'sub/x': 'x', up: '../a.txt' })
      expect(outcome.notes.join()).toMatch(/^1 symbolic link\(s\) that lead out of the repository/)
      expect(outcome.beside).toEqual(['workspace'])
    }
    expect((await runFetch(`${server.origin}/owner/repo.git#v1.0:d/sub`, unsafe(server))).tree).toEqual({ x: 'x' })
    expect(files(await runFetch(`${server.origin}/owner/repo/-/tree/v1.0`, unsafe(server)))).toMatchObject({
      '.git': '/',
      'a.txt': '1',
    })
  })

  test('that does not exist is refused with the nearest one, and no other is taken', async () => {
    await using root = await createFolder()
    const { middle } = await createHistory(root.path)
    await using server = await startGitServer(root.path)
    const rows: [string, string, RegExp][] = [
      ['.git#mian', 'ref_not_found', /"mian".*Nearest: "main"/],
      ['.git#feature', 'ref_not_found', /"feature".*after "#"/],
      ['.git#refs/pull/8/head', 'ref_not_found', /"refs\/pull\/8\/head"/],
      [`.git#${'0'.repeat(40)}`, 'ref_not_found', /"0{40}"/],
      [`.git#${middle.slice(0, 10)}`, 'ref_not_found', /all of its 40 digits/],
      ['/src/tag/main/d', 'ref_not_found', /"main"/],
      ['/-/tree/main/d/sbu', 'folder_not_found', /"d\/sbu" not found at ref "main". Nearest: "d\/sub"/],
      ['/-/tree/main/a.txt', 'folder_not_found', /It is a file/],
      ['.git#main:d/up', 'folder_not_found', /It is a file/],
      ['.git#-o', 'bad_code_url', /starts with "-"/],
      ['/-/tree/--upload-pack=x/d', 'bad_code_url', /starts with "-"/],
      ['/tree/-o/x', 'bad_code_url', /starts with "-"/],
    ]
    for (const [rest, reason, words] of rows) {
      const { failure, tree } = await runFetch(`${server.origin}/owner/repo${rest}`, unsafe(server))
      expect(failure).toMatchObject({ reason })
      expect(failure?.detail).toMatch(words)
      expect(tree).toEqual({})
    }
  })

  test('that is a tag or branch works with git describe and the documented command', async () => {
    await using root = await createFolder()
    await createHistory(root.path)
    await using server = await startGitServer(root.path)
    await using work = await createFolder()
    const signal = new AbortController().signal
    for (const [ref, early, late] of [
      ['v1.0', 'v1.0', 'v1.0'],
      ['main', undefined, 'v1.0-2-g'],
    ] as const) {
      const targetDir = path.join(work.path, ref)
      const policy = { codeHosts: [], localFolders: false, ...unsafe(server).policy } as FetchPolicy
      const options = { checksumSha256: null, policy, targetDir, signal, onStage: () => {} }
      const { notes } = await fetchCode({ ...options, url: `${server.origin}/owner/repo.git#${ref}` })
      if (early !== undefined) expect(await git(targetDir, 'describe')).toBe(early)
      const command = /git fetch( --[a-z]+)+/.exec(notes.join())?.[0]
      if (ref === 'main') expect(command).toBe('git fetch --unshallow --tags')
      if (command !== undefined) await git(targetDir, ...command.split(' ').slice(1))
      expect(await git(targetDir, 'describe')).toContain(late)
    }
    expect(await git(path.join(work.path, 'main'), 'status', '--short', '--branch')).toBe('## main...origin/main')
  })

  test('may have names with a colon, a backslash or what looks like a drive', async () => {
    await using root = await createFolder()
    await createRepository(root.path, { 'a:b': '1', 'c\\d': '2', 'e/f:g': '3', ':(top)x': '4', l: '-> a:b' })
    await using server = await startGitServer(root.path)
    const whole = { 'a:b': '1', 'c\\d': '2', e: '/', 'e/f:g': '3', ':(top)x': '4', l: '-> a:b' }
    expect(files(await clone(server))).toEqual({ '.git': '/', ...whole })
    const tree = await runFetch(`${server.origin}/owner/repo/tree/main`, unsafe(server))
    expect(tree.tree).toEqual(whole)
  })

  test('keeps two files whose names differ in case where the file system does', async () => {
    await using root = await createFolder()
    const folder = await createRepository(root.path, { 'd/x': 'lower' })
    await writeFile(path.join(root.path, 'upper'), 'upper')
    const blob = await git(folder, 'hash-object', '-w', path.join(root.path, 'upper'))
    await git(folder, 'update-index', '--add', '--cacheinfo', `100644,${blob},d/X`)
    await git(folder, 'commit', '-q', '-m', 'twins')
    await using server = await startGitServer(root.path)
    const both = existsSync(path.join(folder, 'D')) ? {} : { d: '/', 'd/x': 'lower', 'd/X': 'upper' }
    for (const rest of ['.git', '/tree/main', '/-/tree/main'])
      expect(files(await runFetch(`${server.origin}/owner/repo${rest}`, unsafe(server)))).toMatchObject(both)
  })

  test('a server in passing trouble is asked once more', async () => {
    await using root = await createFolder()
    await createRepository(root.path, { 'a.txt': '1' })
    let troubled = 1
    await using server = await startGitServer(root.path, (request, response) => {
      if (request.method === 'POST' && troubled-- > 0) response.writeHead(503).end()
    })
    const outcome = await clone(server)
    expect(outcome.failure).toBeUndefined()
    expect(files(outcome)).toEqual({ '.git': '/', 'a.txt': '1' })
    expect(outcome.notes).toContain('the server answered 503; the second attempt succeeded')
  })

  test('is fetched once more when a connection breaks off', async () => {
    await using root = await createFolder()
    await createRepository(root.path, { 'a.txt': '1' })
    let breaks = 1
    await using server = await startGitServer(root.path, (request, response) => {
      if (request.method !== 'POST' || breaks-- <= 0) return
      response.writeHead(200, { 'content-type': 'application/x-git-upload-pack-result', 'content-length': '1000' })
      response.write('0008NAK\n')
      setTimeout(() => response.destroy(), 20)
    })
    const outcome = await clone(server)
    expect(outcome.failure).toBeUndefined()
    expect(files(outcome)).toEqual({ '.git': '/', 'a.txt': '1' })
    expect(outcome.notes.join()).toContain('second attempt')
  })
})

describe('a GitHub tree URL', () => {
  const tree = (server: TestServer, rest: string, options = {}): Promise<Outcome> =>
    runFetch(`${server.origin}/owner/repo/tree/${rest}`, { ...unsafe(server), ...options })

  test('becomes exactly its folder, by branch, branch with slashes, tag or commit', async () => {
    await using root = await createFolder()
    const folder = await createRepository(root.path, {
      'README.md': 'r',
      'cli/index.js': 'one',
      'cli/lib/a.js': 'a',
      'other/cli/index.js': 'wrong',
      'cli/up': '-> ../README.md',
      'cli/in': '-> lib/a.js',
    })
    const first = await git(folder, 'rev-parse', 'HEAD')
    await git(folder, 'tag', 'v1.0')
    await git(folder, 'checkout', '-q', '-b', 'feature/x/y')
    await writeFile(path.join(folder, 'cli/index.js'), 'two')
    await git(folder, 'commit', '-q', '-a', '-m', 'two')
    await using server = await startGitServer(root.path)
    const one = { in: '-> lib/a.js', 'index.js': 'one', lib: '/', 'lib/a.js': 'a' }
    for (const ref of ['main', 'v1.0', first, 'refs/heads/main']) {
      const outcome = await tree(server, `${ref}/cli`)
      expect(outcome.failure).toBeUndefined()
      expect(outcome.tree).toEqual(one)
      expect(outcome.notes.join()).toMatch(/1 symbolic link\(s\) that lead out of the folder were left out: "up"/)
    }
    expect((await tree(server, 'feature/x/y/cli')).tree).toMatchObject({ 'index.js': 'two' })
    expect((await tree(server, 'feature/x/y')).tree).toMatchObject({ 'README.md': 'r', 'cli/index.js': 'two' })
  })

  test('U25: to a missing folder is refused with the nearest names, and none is used instead', async () => {
    await using root = await createFolder()
    await createRepository(root.path, { 'sample-cli/a': '1', 'packages/tool/b': '2', 'README.md': '' })
    await using server = await startGitServer(root.path)
    const { failure, tree: unpacked } = await tree(server, 'main/sampel-cli')
    expect(failure?.reason).toBe('folder_not_found')
    expect(failure?.detail).toContain('Folder "sampel-cli" not found at ref "main". Nearest: "sample-cli"')
    expect(unpacked).toEqual({})
    expect((await tree(server, 'main/tool')).failure?.detail).toContain('Nearest: "packages/tool"')
    expect((await tree(server, 'main/README.md')).failure?.detail).toContain('It is a file')
  })

  test.each(['nope', 'a;b', '$(id)', '0123456789012345678901234567890123456789'])(
    'G8: to the unknown ref %s is refused',
    async (ref) => {
      await using root = await createFolder()
      await createRepository(root.path, { a: '1' })
      await using server = await startGitServer(root.path)
      const { failure } = await tree(server, `${encodeURIComponent(ref)}/folder`)
      expect(failure?.reason).toBe('ref_not_found')
      expect(failure?.detail).toContain(ref)
    },
  )

  test('to a mistyped ref is refused with the nearest ones', async () => {
    await using root = await createFolder()
    await createRepository(root.path, { a: '1' })
    await using server = await startGitServer(root.path)
    expect((await tree(server, 'mian/folder')).failure?.detail).toContain('Nearest: "main"')
  })

  test('T20: is checked by the checksum of its tarball, and refused when that is wrong', async () => {
    await using root = await createFolder()
    await createRepository(root.path, { 'd/a': '1' })
    await using server = await startGitServer(root.path)
    const wrong = await tree(server, 'main/d', { checksum: 'a'.repeat(64) })
    expect(wrong.failure?.reason).toBe('checksum_mismatch')
    const actual = /have ([0-9a-f]{64})/.exec(wrong.failure?.detail ?? '')?.[1] ?? ''
    expect((await tree(server, 'main/d', { checksum: actual })).tree).toEqual({ a: '1' })
  })

  test('to a repository that is private or missing is refused', async () => {
    await using root = await createFolder()
    await using server = await startGitServer(root.path)
    expect((await tree(server, 'main')).failure?.reason).toBe('auth_required')
  })

  test('to a host without a tarball there is fetched by git, unless there is a checksum', async () => {
    await using root = await createFolder()
    const folder = await createRepository(root.path, { 'd/a': '1', b: '2' })
    const commit = await git(folder, 'rev-parse', 'HEAD')
    await using server = await startGitServer(root.path, (request, response) => {
      if (request.url?.includes('/archive/')) response.writeHead(404).end()
    })
    expect((await tree(server, 'main/d')).tree).toEqual({ a: '1' })
    expect((await tree(server, `${commit.slice(0, 8)}/d`)).tree).toEqual({ a: '1' })
    expect((await tree(server, 'main/x')).failure?.reason).toBe('folder_not_found')
    expect((await tree(server, 'main/d', { checksum: 'a'.repeat(64) })).failure?.reason).toBe('ref_not_found')
  })

  test('works on a server that speaks only the old protocol', async () => {
    await using root = await createFolder()
    await createRepository(root.path, { 'd/a': '1' })
    await using server = await startGitServer(root.path, (request) => {
      delete request.headers['git-protocol']
    })
    expect((await tree(server, 'main/d')).tree).toEqual({ a: '1' })
  })
})
