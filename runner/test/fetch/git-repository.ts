/** Repositories for tests and what serves them; it also runs in a pod of its own (see pod/). */
import { execFile, spawn } from 'node:child_process'
import type http from 'node:http'
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

export const ENV = {
  PATH: process.env['PATH'] ?? '',
  HOME: '/nonexistent',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_LITERAL_PATHSPECS: '1',
  GIT_AUTHOR_NAME: 'a',
  GIT_AUTHOR_EMAIL: 'a@example.com',
  GIT_COMMITTER_NAME: 'a',
  GIT_COMMITTER_EMAIL: 'a@example.com',
}

/** Runs git on a fixture. */
export async function git(cwd: string, ...args: string[]): Promise<string> {
  return (await run('git', args, { cwd, env: ENV })).stdout.trim()
}

/** A repository `owner/repo` below `root` with one commit of these files. Values that start with `-> ` are links. */
export async function createRepository(root: string, files: Record<string, string>): Promise<string> {
  const folder = path.join(root, 'owner', 'repo')
  await mkdir(folder, { recursive: true })
  await git(folder, 'init', '-q', '-b', 'main')
  for (const [name, content] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(folder, name)), { recursive: true })
    if (content.startsWith('-> ')) await addLink(folder, name, content.slice(3))
    else await writeFile(path.join(folder, name), content)
  }
  await git(folder, 'add', '-A', '--ignore-errors', ...Object.keys(files).filter((n) => !files[n]?.startsWith('-> ')))
  await git(folder, 'commit', '-q', '-m', 'one', '--allow-empty')
  return folder
}

async function addLink(folder: string, name: string, target: string): Promise<void> {
  await writeFile(path.join(folder, 'link-target'), target)
  const id = await git(folder, 'hash-object', '-w', 'link-target')
  await git(folder, 'update-index', '--add', '--cacheinfo', `120000,${id},${name}`)
}

/** Smart HTTP by `git http-backend`. */
export function serveGit(root: string, url: URL, request: http.IncomingMessage, response: http.ServerResponse): void {
  const child = spawn('git', ['http-backend'], {
    env: {
      ...ENV,
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      REQUEST_METHOD: request.method ?? 'GET',
      // GitHub serves a repository with and without the suffix.
      PATH_INFO: url.pathname.replace(/\.git\//, '/'),
      QUERY_STRING: url.search.slice(1),
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
    },
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  child.stdin.on('error', () => {})
  request.pipe(child.stdin)
  let head: Buffer | undefined = Buffer.alloc(0)
  child.stdout.on('data', (chunk: Buffer) => {
    if (head === undefined) {
      response.write(chunk)
      return
    }
    head = Buffer.concat([head, chunk])
    const end = head.indexOf('\r\n\r\n')
    if (end === -1) return
    const lines = head.toString('latin1', 0, end).split('\r\n')
    const status = lines.find((line) => /^status:/i.test(line))
    for (const line of lines.filter((text) => !/^status:/i.test(text))) {
      const [name = '', value = ''] = line.split(/:\s*/, 2)
      response.setHeader(name, value)
    }
    response.writeHead(status ? Number(/\d+/.exec(status)?.[0]) : 200)
    response.write(head.subarray(end + 4))
    head = undefined
  })
  child.once('close', () => response.end())
}
