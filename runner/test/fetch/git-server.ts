/** A git host on loopback as GitHub's addresses have it: smart HTTP by `git http-backend`, tarballs by `git archive`. */
import { execFile } from 'node:child_process'
import type http from 'node:http'
import path from 'node:path'
import { promisify } from 'node:util'
import { ENV, serveGit } from './git-repository.ts'
import { startServer, type TestServer } from './servers.ts'

export { createRepository, git } from './git-repository.ts'

const run = promisify(execFile)

export async function startGitServer(root: string, intercept?: http.RequestListener): Promise<TestServer> {
  return startServer((request, response) => {
    if (intercept) {
      intercept(request, response)
      if (response.headersSent) return
    }
    const url = new URL(request.url ?? '/', 'http://host')
    const archive = /^\/(owner)\/(repo)\/archive\/(.+)\.tar\.gz$/.exec(url.pathname)
    if (archive) void sendTarball(path.join(root, 'owner', 'repo'), decodeURIComponent(archive[3] ?? ''), response)
    else serveGit(root, url, request, response)
  })
}

async function sendTarball(folder: string, ref: string, response: http.ServerResponse): Promise<void> {
  try {
    const options = { cwd: folder, env: ENV, encoding: 'buffer' as const, maxBuffer: 64 * 1024 * 1024 }
    const { stdout } = await run('git', ['archive', '--format=tar.gz', '--prefix=repo-x/', ref], options)
    response.writeHead(200, { 'content-type': 'application/x-gzip' }).end(stdout)
  } catch {
    response.writeHead(404).end()
  }
}
