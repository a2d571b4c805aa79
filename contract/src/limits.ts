/**
 * Limits that depend on one another, in one place. Each is longer than what it waits for: a program has its grace, then
 * work says how it ended, then its host reports it, then whoever launched them kills what did not. All in milliseconds.
 */
export const STOP_LIMITS = {
  /** What a program has between SIGTERM and SIGKILL. */
  graceMs: 10_000,
  /** Beyond that: how long a host waits for a work that says nothing. */
  silenceMs: 500,
  /** Beyond the grace: how long a host waits for a work that still sends output. */
  drainMs: 15_000,
  /** How much later than its host work ends by itself what has run for as long as it may: the host hangs, or is gone. */
  backstopMs: 2_000,
  /** From the request to the end by force on one machine, whatever hangs. */
  machineMs: 11_000,
  /** The same on a cluster, where a host may wait for its controller, and its controller for the API server. */
  clusterMs: 30_000,
  /** From Ctrl-C until all sessions of one machine are gone: the end by force, then what is left is killed. */
  allMs: 20_000,
  /** What is left of one machine's sessions then has to leave by itself, before it is killed. */
  leaveMs: 400,
  /** From SIGTERM to work itself until it gives up; below the least grace that a pod may have. */
  workMs: 25_000,
} as const

/**
 * The signal with which the launcher on one machine asks work to stop its command when the host does not answer. Work of
 * an earlier release ignores it, and no image has it as its STOPSIGNAL.
 */
export const WORK_STOP_SIGNAL = 'SIGURG'

export const POD_LIMITS = {
  leastGraceSeconds: 30,
  graceSeconds: 120,
  /** Between what a host may take to report and serve a session that is over, and its pod's grace. */
  hostSpareSeconds: 10,
} as const

/** What may come before a session's command, in seconds; `timeout_seconds` counts from the command. */
export const START_LIMITS = {
  /** The most that an operator may let a session wait to be claimed. */
  longestQueueSeconds: 24 * 60 * 60,
  /** For fetching the code, from the first lookup to the last byte. */
  fetchSeconds: 10 * 60,
  /** For the install command. */
  installSeconds: 30 * 60,
} as const

/** How long a session may last from its creation to its command's end, given how long it may wait and run. */
export function longestSessionSeconds({ queueSeconds, timeoutSeconds }: SessionTimes): number {
  return queueSeconds + START_LIMITS.fetchSeconds + START_LIMITS.installSeconds + timeoutSeconds
}

interface SessionTimes {
  readonly queueSeconds: number
  readonly timeoutSeconds: number
}

/**
 * What comes after a session's end, in seconds. The launcher removes what lingers, and whoever still reads with it: it
 * has to wait for longer than the host does.
 */
export const END_LIMITS = {
  /** How long a host waits for viewers that still read. */
  drainSeconds: 60,
  /** How long a launch may stay after the end of its session. */
  lingerSeconds: 90,
} as const

/** What a host is given of its pod's grace. */
export function hostGraceSeconds(podGraceSeconds: number): number {
  return podGraceSeconds - POD_LIMITS.hostSpareSeconds
}
