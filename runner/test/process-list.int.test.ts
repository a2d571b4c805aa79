import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from '@jest/globals'
import { ProcessList, startOf } from '../src/worker/process-list.ts'

let children: ChildProcess[] = []
afterEach(async () => {
  for (const child of children.splice(0)) {
    const gone = once(child, 'exit')
    process.kill(-child.pid!, 'SIGKILL')
    await gone
  }
})

/** A process that leads a session, as a terminal's does, with a child in it. */
async function lead(script = 'sleep 60 & echo started; wait'): Promise<number> {
  const child = spawn('sh', ['-c', script], {
    detached: true,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  children.push(child)
  await once(child.stdout, 'data')
  return child.pid!
}

if (process.platform !== 'linux')
  console.log('not tested: only Linux tells what a process does, and since when it runs')
else {
  test.each([
    ['was started at another time', -1],
    ['was gone before anybody looked', undefined],
  ])('a session is left alone when its leader merely has our leader’s pid and %s', async (_, shift) => {
    const pid = await lead()
    const start = shift === undefined ? undefined : startOf(pid)! + shift
    const list = new ProcessList({ sessionId: randomUUID(), leader: { pid, start } })
    expect(await list.find(true)).toEqual([])
    // What the foreign process leaves behind is not ours either.
    process.kill(pid, 'SIGKILL')
    await once(children[0]!, 'exit')
    expect(await list.find(true)).toEqual([])
    process.kill(-pid, 'SIGKILL')
    children = []
  })

  test('finds a session of our leader, also after the leader has ended', async () => {
    const pid = await lead()
    const list = new ProcessList({ sessionId: randomUUID(), leader: { pid, start: startOf(pid) } })
    const found = (await list.find(true)).map((one) => one.pid)
    expect(found).toHaveLength(2)
    expect(found).toContain(pid)
    process.kill(pid, 'SIGKILL')
    await once(children[0]!, 'exit')
    expect((await list.find(true)).map((one) => one.pid)).toEqual(found.filter((one) => one !== pid))
    process.kill(-pid, 'SIGKILL')
    children = []
  })

  test('finds a process whose first thread has ended while others go on', async () => {
    const program = `import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
print("started", flush=True)
ctypes.CDLL(None).pthread_exit(None)`
    const pid = await lead(`exec python3 -c '${program}'`)
    const isZombie = () => readFileSync(`/proc/${pid}/stat`, 'latin1').includes(') Z ')
    for (let look = 0; look < 100 && !isZombie(); look++) await sleep(20)
    expect(isZombie()).toBe(true)
    const list = new ProcessList({ sessionId: randomUUID(), leader: { pid, start: startOf(pid) } })
    expect((await list.find(true)).map((one) => one.pid)).toEqual([pid])
  })

  test('a process that waits for its child is told from one that computes, also in short pieces', async () => {
    const pieces = 'setInterval(() => { for (const until = performance.now() + 0.5; performance.now() < until; ); }, 1)'
    const node = `"${process.execPath}"`
    const pid = await lead(`${node} -e 'for (;;);' & echo started; ${node} -e '${pieces}'; :`)
    const list = new ProcessList({ sessionId: randomUUID(), leader: { pid, start: startOf(pid) } })
    while ((await list.find(true)).length < 3) await sleep(10)
    await sleep(100)
    for (let look = 0; look < 200; look++) {
      const found = await list.find()
      expect(found).toHaveLength(3)
      for (const one of found) expect(one.waits).toBe(one.pid === pid)
      await sleep(5)
    }
  })
}
