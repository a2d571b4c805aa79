import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { HostState } from '../src/host/host-state.ts'
import { findBash, runFailure } from '../src/worker/launch-check.ts'
import { listenOnSocket } from '../src/worker/listen.ts'

let dir: string
beforeEach(() => void (dir = mkdtempSync(path.join(os.tmpdir(), 'cs-state-'))))
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const at = '2026-01-01T00:00:00.000Z'

test('a new start finds nonce, secret and events, and counts each event once', () => {
  const first = new HostState(path.join(dir, 'spool'))
  expect(first.addEvent({ type: 'stage', name: 'installing', at })).toBe(true)
  expect(first.addEvent({ type: 'stage', name: 'installing', at: '2026-01-01T00:00:09.000Z' })).toBe(false)
  expect(first.addEvent({ type: 'running', at })).toBe(true)
  first.markWorkSeen()
  const second = new HostState(path.join(dir, 'spool'))
  expect([second.nonce, second.workSecret, second.workSeen]).toEqual([first.nonce, first.workSecret, true])
  expect(second.events).toEqual(first.events)
  expect(second.addEvent({ type: 'running', at })).toBe(false)
  expect(new HostState(path.join(dir, 'other')).nonce).not.toBe(first.nonce)
  expect(statSync(path.join(dir, 'spool')).mode & 0o777).toBe(0o700)
  expect(statSync(path.join(dir, 'spool/events.ndjson')).mode & 0o777).toBe(0o600)
})

test('a line that a kill cut off is skipped, and what follows is kept', () => {
  const first = new HostState(dir)
  first.addEvent({ type: 'stage', name: 'fetching_code', at })
  appendFileSync(path.join(dir, 'events.ndjson'), '{"type":"running","at":"20')
  const second = new HostState(dir)
  expect(second.events.length).toBe(1)
  second.addEvent({ type: 'running', at })
  expect(new HostState(dir).events.map((event) => event.type)).toEqual(['stage', 'running'])
})

test('a state that cannot be read is not taken for a new one', () => {
  writeFileSync(path.join(dir, 'host.json'), '{"nonce":1}')
  expect(() => new HostState(dir)).toThrow()
  expect(readFileSync(path.join(dir, 'host.json'), 'utf8')).toBe('{"nonce":1}')
})

test('a missing bash, like every other fault at the start, is explained in a sentence', async () => {
  const missing: unknown = await findBash([path.join(dir, 'bash')]).catch((error: unknown) => error)
  expect(runFailure(missing).failure).toEqual({
    reason: 'launch_failed',
    detail: 'bash was not found in the image; sessions need it.',
  })
  expect(runFailure(Object.assign(new Error('x'), { code: 'ENOSPC' })).failure.reason).toBe('disk_full')
  expect(runFailure(Object.assign(new Error('/secret/path'), { code: 'EWHAT' })).failure.detail).not.toContain('secret')
  expect(runFailure(undefined).failure.detail).toContain('unknown error')
})

test('work’s socket replaces a dead one, but never a live one or a file', async () => {
  const socketPath = path.join(dir, 'work.sock')
  const first = await listenOnSocket(socketPath, (socket) => socket.destroy())
  await expect(listenOnSocket(socketPath, () => {})).rejects.toThrow('another process listens')
  await new Promise((resolve) => first.close(resolve))
  writeFileSync(socketPath, 'precious')
  await expect(listenOnSocket(socketPath, () => {})).rejects.toThrow('not a socket')
  expect(readFileSync(socketPath, 'utf8')).toBe('precious')
})
