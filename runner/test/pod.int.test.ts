import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Cluster } from './pod/cluster.ts'

const NUMBERS = Array.from({ length: 20_000 }, (_, i) => `${i + 1}\r\n`).join('')
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

/** What a command may and may not do in its container. */
const LOOK = [
  'echo "user $(id -u):$(id -g)"',
  'echo "owner $(stat -c %u package.json) $(stat -c %u .git) $(readlink docs/link)"',
  // npm makes what it links executable.
  'echo "status [$(git -c core.fileMode=false status --porcelain)]"',
  'node_modules/.bin/greet',
  'echo "root $(touch /usr/x 2>&1)"',
  'touch /tmp/x "$TMPDIR/x" ~/x && echo writable',
  'for i in 1 2 3; do (sleep 0.1 &) ; done; sleep 1; echo "zombies $(grep -lsE "^State:.Z" /proc/[0-9]*/status | wc -l)"',
  'ls /var/run/secrets /var/lib/cliscale/spool 2>/dev/null | wc -l',
  'echo "shared $(ls -A /run/cliscale)"',
  `node -e "fetch(process.env.CODE_ORIGIN).then((r) => console.log('https ' + r.status))"`,
]

if (process.env['E2E_KUBECONFIG']) {
  // Pods start in a second or two, several at a time, but take longer on a busy machine.
  describe('a pod as the controller specifies it', () => {
    const cluster = new Cluster()
    beforeAll(() => cluster.start(), 120_000)
    afterAll(() => cluster[Symbol.asyncDispose](), 60_000)

    test('brings code from a repository, installs, runs as the other user, and ends in order', async () => {
      const origin = `https://${cluster.host}:7443`
      const order = { command: LOOK.join('; '), installCmd: null, env: { CODE_ORIGIN: origin } }
      const session = await cluster.session(order, { codeUrl: `${origin}/owner/repo.git` })
      const ended = await session.ended()
      const { output } = await session.state()
      const text = output.begin.replaceAll('\r\n', '\n')
      expect(text).toContain('user 1000:1000\nowner 1000 1000 ../package.json\nstatus []\ngreetings\n')
      expect(text).toMatch(
        /root touch: .*Read-only file system\nwritable\nzombies 0\n0\nshared work.sock\nhttps 404\n$/,
      )
      expect(ended).toMatchObject({ status: 'succeeded', exitCode: 0 })
      expect((await session.terminated('work')).exitCode).toBe(0)
      const { exitCode, message } = await session.terminated('host')
      expect(exitCode).toBe(0)
      expect(JSON.parse(message!)).toEqual({
        status: 'succeeded',
        reason: null,
        detail: null,
        exitCode: 0,
        signal: null,
      })
    }, 120_000)

    const custom = process.env['E2E_CUSTOM_IMAGE']
    if (custom) {
      test('runs the command in an image of its own, into which the two programs were copied', async () => {
        const command = 'cat /etc/image-name; node --version; seq 1 20000; exit 3'
        const session = await cluster.session({ command }, { workImage: custom })
        expect(await session.ended()).toMatchObject({ status: 'failed', exitCode: 3 })
        const { output } = await session.state()
        expect(output.begin.slice(0, 50)).toMatch(/^an image of our own\r\nv20\.\d+\.\d+\r\n1\r\n/)
        expect(output.end.endsWith('\r\n20000\r\n')).toBe(true)
      }, 120_000)
    } else console.log('An image of its own is not tested: E2E_CUSTOM_IMAGE names none.')

    test('gives every byte and the exit code of a command that ends at once', async () => {
      const session = await cluster.session({ command: 'seq 1 20000; exit 3' })
      expect(await session.ended()).toMatchObject({ status: 'failed', reason: 'exit_nonzero', exitCode: 3 })
      expect((await session.state()).output).toMatchObject({ bytes: NUMBERS.length, sha256: sha256(NUMBERS) })
      expect(JSON.parse((await session.terminated('host')).message!)).toMatchObject({ exitCode: 3 })
    }, 120_000)

    test('survives a kill of its host without losing a byte', async () => {
      const session = await cluster.session({
        command: 'echo begun; for i in $(seq 20); do seq $((i * 1000 - 999)) $((i * 1000)); sleep 0.5; done; exit 4',
      })
      await session.outputHas('\r\n')
      await session.killHost()
      expect(await session.ended()).toMatchObject({ status: 'failed', exitCode: 4 })
      expect((await session.state()).output.sha256).toBe(sha256(`begun\r\n${NUMBERS}`))
      expect((await session.container('host')).restartCount).toBeGreaterThanOrEqual(1)
      expect((await session.terminated('work')).exitCode).toBe(0)
    }, 120_000)

    test('gets a new host when its host hangs, and keeps its output and exit code', async () => {
      const command = 'echo begun; sleep 60; echo over; exit 4'
      const session = await cluster.session({ command }, { firstProbeSeconds: 10 })
      await session.outputHas('begun\r\n')
      if (!session.signalHost('SIGSTOP')) return console.log("not tried: the node's processes are not seen from here")
      expect(await session.ended(120_000)).toMatchObject({ status: 'failed', exitCode: 4 })
      expect((await session.state()).output.sha256).toBe(sha256('begun\r\nover\r\n'))
      expect((await session.container('host')).restartCount).toBe(1)
    }, 200_000)

    test('reports that the command was killed for its memory', async () => {
      const session = await cluster.session({ command: 'echo begun; tail /dev/zero' }, { memory: '300Mi' })
      const ended = await session.ended(90_000)
      // Where a kill for memory takes the whole container, the host can report only that work is gone.
      if (ended.status === 'lost') expect(ended.reason).toBe('runner_lost')
      else expect(ended).toMatchObject({ status: 'failed', reason: 'oom_killed', signal: 'SIGKILL' })
      expect((await session.state()).output.begin).toContain('begun')
    }, 180_000)

    test('reports the session as lost when the container of its command is killed', async () => {
      const session = await cluster.session({ command: 'echo begun; sleep 1; kill -9 $PPID; sleep 60' })
      expect(await session.ended()).toMatchObject({ status: 'lost', reason: 'runner_lost', exitCode: null })
      expect((await session.state()).output.begin).toBe('begun\r\n')
      const { exitCode, message } = await session.terminated('host')
      expect(exitCode).toBe(0)
      expect(JSON.parse(message!)).toMatchObject({ status: 'lost', reason: 'runner_lost' })
    }, 120_000)

    test('reports everything before it goes when it is deleted, and gives the command its grace period', async () => {
      const session = await cluster.session({
        command: `trap 'sleep 1; echo saved; exit 0' TERM; echo up; while :; do sleep 0.1; done`,
      })
      await session.outputHas('up')
      const deletedAt = Date.now()
      await cluster.kubectl('delete', 'pod', session.name, '--wait=false')
      expect(await session.ended()).toMatchObject({ status: 'lost', reason: 'runner_lost', exitCode: 0 })
      expect((await session.state()).output.begin).toMatch(/^up\r\n[^]*saved\r\n$/)
      await cluster.kubectl('wait', '--for=delete', `pod/${session.name}`, '--timeout=60s')
      expect(Date.now() - deletedAt).toBeLessThan(45_000)
    }, 120_000)

    test('whose claim meets another launch waits, and ends when the session ends', async () => {
      const session = await cluster.session({ command: 'echo never' }, { refuseClaim: 409 })
      await session.called('claim', 3)
      expect((await session.container('host')).state['running']).toBeDefined()
      await cluster.ask(`refuse?port=${session.port}&call=claim&status=404`)
      expect((await session.terminated('work')).exitCode).toBe(0)
      expect((await session.state()).output.bytes).toBe(0)
    }, 120_000)
  })
} else {
  test('pods are not tested: there is no cluster', () => {
    console.log('Pods are not tested: E2E_KUBECONFIG names no cluster.')
    expect(process.env['E2E_KUBECONFIG'] ?? '').toBe('')
  })
}
