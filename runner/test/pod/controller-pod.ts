/**
 * A program for a pod: the internal API of one controller for each session (port 8000 and up), a git host with a
 * certificate (7443), and what the test asks of both by GET (7000):
 *
 *   /make?order=…&codeUrl=…&refuseClaim=…  → {sessionId, port}
 *   /state?port=…                          → what the controller of that session knows
 *   /refuse?port=…&call=…&status=…         → the same; from now on it answers that call with this status
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import { type ControllerDouble, createControllerDouble } from '../controller-double.ts'
import { createRepository, serveGit } from '../fetch/git-repository.ts'

const REPOSITORY = {
  'package.json': '{"name":"example","version":"1.0.0","dependencies":{"greeter":"file:./greeter"}}',
  '.gitignore': 'node_modules\npackage-lock.json\n',
  'greeter/package.json': '{"name":"greeter","version":"1.0.0","bin":{"greet":"greet.js"}}',
  'greeter/greet.js': '#!/usr/bin/env node\nconsole.log("greetings")\n',
  'docs/link': '-> ../package.json',
}

const [, , tlsDir = '', repositories = ''] = process.argv
const sessions = new Map<number, ControllerDouble>()
let nextPort = 8000

async function answer(url: URL): Promise<unknown> {
  const get = (name: string): string => url.searchParams.get(name) ?? ''
  if (url.pathname === '/make') {
    const port = nextPort++
    const session = await createControllerDouble(JSON.parse(get('order')) as object, { host: '0.0.0.0', port })
    session.timeoutSeconds = 120
    const codeUrl = get('codeUrl')
    if (codeUrl !== '') session.setCodeUrl(codeUrl, [new URL(codeUrl).host])
    if (get('refuseClaim') !== '') session.refuse.set('claim', Number(get('refuseClaim')))
    sessions.set(port, session)
    return { sessionId: session.sessionId, port }
  }
  const session = sessions.get(Number(get('port')))
  if (session === undefined) return {}
  if (url.pathname === '/refuse') session.refuse.set(get('call'), Number(get('status')))
  const { events, calls, output } = session
  const sha256 = createHash('sha256').update(output).digest('hex')
  const [begin, end] = [output.subarray(0, 20_000).toString(), output.subarray(-2000).toString()]
  return { events, calls, output: { sha256, bytes: output.length, begin, end } }
}

async function main(): Promise<void> {
  await createRepository(repositories, REPOSITORY)
  const tls = { key: readFileSync(`${tlsDir}/tls.key`), cert: readFileSync(`${tlsDir}/ca.crt`) }
  https
    .createServer(tls, (request, response) => {
      serveGit(repositories, new URL(request.url ?? '/', 'https://host'), request, response)
    })
    .listen(7443, '0.0.0.0')
  http
    .createServer((request, response) => {
      void answer(new URL(request.url ?? '/', 'http://host')).then((json) => response.end(JSON.stringify(json)))
    })
    .listen(7000, '0.0.0.0')
}

await main()
