/**
 * `npm test`: unit and integration tests on this Node, but for the slow ones (jest.config.mjs lists them); those too with
 * `--all`, only those with `--slow`, and whatever is named. Further arguments go to Jest, and leave none out unless
 * `--fast` is one of them. Ends with "N passed, N failed".
 * In CI a few files that fail are run once more, by themselves: on a machine that is busy with other things a process
 * may start too late for a test that passes alone. Each is named in a line "Run again: …", which `.ci/run` counts and
 * shows. What fails again has failed.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { prepare, root, runScript } from './prepare.mjs'

runScript(async () => {
  await prepare()
  const dir = mkdtempSync(path.join(os.tmpdir(), 'cliscale-summary-'))
  try {
    const summaryFile = path.join(dir, 'summary.json')
    const args = chooseSlow(process.argv.slice(2))
    const code = await jest(summaryFile, args)
    const again = process.env['CI'] && code === 1 ? fewFailedFiles(summaryFile) : []
    if (again.length === 0) process.exitCode = report(summaryFile, code)
    else process.exitCode = await onceMore(summaryFile, args, again)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})

/** Takes our own arguments out of those for Jest, and tells the configuration by TEST_SLOW what to leave out. */
function chooseSlow(args) {
  const [fast, slow, all] = ['--fast', '--slow', '--all'].map((ours) => args.includes(ours))
  const rest = args.filter((arg) => !['--fast', '--slow', '--all'].includes(arg))
  const isNamed = rest.length > 0
  if (slow) process.env['TEST_SLOW'] = 'only'
  else if (all || (isNamed && !fast)) delete process.env['TEST_SLOW']
  else process.env['TEST_SLOW'] = 'no'
  return rest
}

/** More than these is no accident. */
const MOST_FILES_AGAIN = 3

function fewFailedFiles(summaryFile) {
  const { failedFiles } = readSummary(summaryFile) ?? { failedFiles: [] }
  return failedFiles.length <= MOST_FILES_AGAIN ? failedFiles : []
}

async function onceMore(summaryFile, args, files) {
  const first = readSummary(summaryFile)
  const names = files.map(({ file }) => path.relative(root, file))
  console.log(`\n${names.map((name) => `Run again: ${name}`).join('\n')}\n`)
  rmSync(summaryFile)
  // A part of these few would leave some out, and Jest takes no number of workers beside --runInBand.
  const rest = args.filter((arg) => !/^--(shard|maxWorkers)=/.test(arg))
  const code = await jest(summaryFile, [...rest, '--runInBand', '--runTestsByPath', ...names])
  const second = readSummary(summaryFile)
  // What passed in these files the first time is counted in the second run.
  if (second) second.passed += first.passed - files.reduce((sum, { passed }) => sum + passed, 0)
  if (second) writeFileSync(summaryFile, JSON.stringify(second))
  return report(summaryFile, code)
}

function readSummary(summaryFile) {
  try {
    return JSON.parse(readFileSync(summaryFile, 'utf8'))
  } catch {
    return undefined
  }
}

async function jest(summaryFile, args) {
  const given = process.env['NODE_OPTIONS'] ?? ''
  const nodeOptions = `${given} --experimental-vm-modules --disable-warning=ExperimentalWarning`.trim()
  const child = spawn(
    process.execPath,
    [
      path.join(root, 'node_modules/jest/bin/jest.js'),
      // Ours come last: Jest takes the words behind a --reporters as further reporters.
      ...args,
      '--reporters=default',
      `--reporters=${path.join(root, 'scripts/count-reporter.mjs')}`,
    ],
    { cwd: root, stdio: 'inherit', env: { ...process.env, NODE_OPTIONS: nodeOptions, TEST_SUMMARY_FILE: summaryFile } },
  )
  // Ctrl-C reaches Jest by itself, and Jest stops its PostgreSQL; we wait for that.
  for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (status, signal) => {
      if (signal) console.log(`Jest was ended by ${signal}.`)
      resolve(status ?? 1)
    })
  })
}

function report(summaryFile, code) {
  const summary = readSummary(summaryFile)
  if (!summary) {
    console.log('Jest ended without a result.\n0 passed, 1 failed')
    return 1
  }
  // A filter (`npm test -- -t name`) leaves tests out on purpose; nothing else may.
  const leftOut = process.argv.some((arg) => arg === '-t' || arg.startsWith('--testNamePattern')) ? 0 : summary.skipped
  const failed = summary.failed + leftOut
  if (leftOut > 0) console.log(`${leftOut} did not run: that counts as failed.`)
  console.log(`${summary.passed} passed, ${failed === 0 && code !== 0 ? 1 : failed} failed`)
  return code !== 0 ? code : failed > 0 ? 1 : 0
}
