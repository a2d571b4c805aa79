import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { expect, test } from '@jest/globals'
import { type Exit, REASONS } from '@cliscale/contract'
import { PtyRun } from '../src/worker/pty-run.ts'
import { TypedInput } from '../src/worker/typed-input.ts'
import { TestViewer } from './terminal-client.ts'
import { type ContractTarget, describeTtyContract } from './terminal-contract.ts'
import { type Fixture, openFixture } from './terminal-fixture.ts'

/** Our host with a real terminal behind it, without the processes in between. */
async function startHost(command: string): Promise<ContractTarget & { fixture: Fixture }> {
  let run: PtyRun | undefined
  const typed = new TypedInput(() => {})
  let at = 0
  const fixture = await openFixture({
    onInput: (bytes) => {
      typed.push({ stream: 'all', at, bytes, ahead: false })
      at += bytes.length
    },
    onResize: (size) => run?.resize(size),
  })
  const sessionId = randomUUID()
  const { PATH = '/usr/bin:/bin' } = process.env
  run = PtyRun.start({
    command,
    cwd: tmpdir(),
    env: { PATH, HOME: tmpdir(), TERM: 'xterm-256color', LANG: 'C.UTF-8', CLISCALE_SESSION_ID: sessionId },
    bash: '/bin/bash',
    size: fixture.terminal.size,
    session: { sessionId },
    sweepTermMs: 50,
    onOutput: (bytes) => {
      fixture.terminal.appendWork(fixture.terminal.workOffset, bytes)
      run?.pause()
      void fixture.terminal.ready().then(() => run?.resume())
    },
  })
  typed.connect(run.input, 'command')
  void run.exit.then(() => typed[Symbol.dispose]())
  const ended = run.exit.then((exit) => fixture.terminal.end(toExit(exit)))
  return {
    fixture,
    port: fixture.terminal.port,
    assertion: 'rw-contract',
    [Symbol.asyncDispose]: async () => {
      if (!fixture.terminal.ended) run?.stop(0)
      await ended
      await fixture[Symbol.asyncDispose]()
    },
  }
}

function toExit(exit: Awaited<PtyRun['exit']>): Exit {
  if ('error' in exit) throw exit.error
  const reason = exit.signal ? 'killed_by_signal' : exit.exitCode === 0 ? null : 'exit_nonzero'
  const { exitCode, signal } = exit
  return {
    status: reason === null ? 'succeeded' : 'failed',
    reason,
    detail: null,
    hint: reason && REASONS[reason].hint,
    exitCode,
    signal,
    durationMs: 1,
  }
}

describeTtyContract({ name: 'the session host', start: startHost, closeAtExit0: [1000] })

test.each([
  ['seq 1 20000; exit 3', '20000\r\n', 'exit code 3'],
  ['echo hurt; kill -9 $$', 'hurt\r\n', 'ended by SIGKILL'],
])(
  'the session host ends a tty viewer of %j with its last byte, a line about the end, and Close 1000',
  async (command, last, how) => {
    await using target = await startHost(command)
    await using v = await new TestViewer({ port: target.port, protocols: ['tty'], assertion: 'rw-a' }).open({})
    await v.untilClosed()
    expect(v.closed?.code).toBe(1000)
    expect(v.text()).toContain(`${last}\r\n\x1b[0;31m[cliscale] ${how}\x1b[0m\r\n`)
    expect(v.messages.find((m) => m.type === 'title')).toEqual({ type: 'title', title: 'CLI Scale' })
  },
)

const ttyd = process.env['TTYD_BIN']
if (ttyd)
  describeTtyContract({ name: 'ttyd', start: (command) => startTtyd(ttyd, command), closeAtExit0: [1000, 1006] })
else console.log('The contract of tty is not checked against ttyd: TTYD_BIN does not name one.')

async function startTtyd(file: string, command: string): Promise<ContractTarget> {
  const port = await freePort()
  const child = spawn(file, ['-W', '-i', '127.0.0.1', '-p', String(port), 'bash', '-c', command], { stdio: 'ignore' })
  const exited = once(child, 'exit')
  await reachable(port, child)
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL')
      await exited
    },
  }
}

/** A port that was free a moment ago; ttyd prints the one it chose only to its log. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function reachable(port: number, child: ChildProcess): Promise<void> {
  for (let attempt = 0; attempt < 100 && child.exitCode === null; attempt++) {
    const answer = await fetch(`http://127.0.0.1:${port}/token`).catch(() => undefined)
    await answer?.arrayBuffer()
    if (answer?.ok) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('ttyd does not listen')
}
