import { expect, test } from '@jest/globals'
import { END_LIMITS, hostGraceSeconds, longestSessionSeconds, POD_LIMITS, START_LIMITS, STOP_LIMITS } from './limits.ts'

test('each limit of a stop is longer than the one it waits for', () => {
  const { graceMs, silenceMs, drainMs, machineMs, clusterMs, allMs, leaveMs, workMs } = STOP_LIMITS
  expect(graceMs + silenceMs).toBeLessThan(machineMs)
  // What is promised of a stop on one machine.
  expect(machineMs + leaveMs).toBeLessThan(12_000)
  expect(graceMs + drainMs).toBeLessThan(clusterMs)
  expect(machineMs + leaveMs).toBeLessThan(allMs)
  expect(graceMs).toBeLessThan(workMs)
  expect(workMs).toBeLessThan(POD_LIMITS.leastGraceSeconds * 1000)
})

test('the longest session waits, fetches, installs and runs for as long as each may take', () => {
  const { fetchSeconds, installSeconds } = START_LIMITS
  expect(longestSessionSeconds({ queueSeconds: 5, timeoutSeconds: 7 })).toBe(fetchSeconds + installSeconds + 12)
})

test('a launch stays for longer than its host waits for viewers', () => {
  expect(END_LIMITS.drainSeconds).toBeLessThan(END_LIMITS.lingerSeconds)
})

test('a host has time left within any grace period of its pod', () => {
  expect(POD_LIMITS.leastGraceSeconds).toBeLessThanOrEqual(POD_LIMITS.graceSeconds)
  expect(hostGraceSeconds(POD_LIMITS.leastGraceSeconds) * 1000).toBeGreaterThan(STOP_LIMITS.graceMs)
})
