import { expect, test } from '@jest/globals'
import { END_LIMITS, hostGraceSeconds, longestSessionSeconds, POD_LIMITS, START_LIMITS, STOP_LIMITS } from './limits.ts'

test('each time limit of a stop is longer than the limits that it waits for', () => {
  const { graceMs, silenceMs, drainMs, machineMs, clusterMs, allMs, leaveMs, workMs } = STOP_LIMITS
  expect(graceMs + silenceMs).toBeLessThan(machineMs)
  // The promised duration of a stop on one machine.
  expect(machineMs + leaveMs).toBeLessThan(12_000)
  expect(graceMs + drainMs).toBeLessThan(clusterMs)
  expect(machineMs + leaveMs).toBeLessThan(allMs)
  expect(graceMs).toBeLessThan(workMs)
  expect(workMs).toBeLessThan(POD_LIMITS.leastGraceSeconds * 1000)
})

test('the longest session includes the full time for waiting, fetching, installing and running', () => {
  const { fetchSeconds, installSeconds } = START_LIMITS
  expect(longestSessionSeconds({ queueSeconds: 5, timeoutSeconds: 7 })).toBe(fetchSeconds + installSeconds + 12)
})

test('a launch stays longer than its host waits for viewers', () => {
  expect(END_LIMITS.drainSeconds).toBeLessThan(END_LIMITS.lingerSeconds)
})

test('the shortest grace period of a pod still leaves its host time', () => {
  expect(POD_LIMITS.leastGraceSeconds).toBeLessThanOrEqual(POD_LIMITS.graceSeconds)
  expect(hostGraceSeconds(POD_LIMITS.leastGraceSeconds) * 1000).toBeGreaterThan(STOP_LIMITS.graceMs)
})
