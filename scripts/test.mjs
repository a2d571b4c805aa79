/** `npm test`: unit and integration tests on this Node; further arguments go to Jest. Ends with "N passed, N failed". */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { prepare, root, runScript } from './prepare.mjs'

runScript(async () => {
  await prepare()
  const dir = mkdtempSync(path.join(os.tmpdir(), 'cliscale-summary-'))
  try {
    const summaryFile = path.join(dir, 'summary.json')
    const code = await jest(summaryFile, process.argv.slice(2))
    process.exitCode = report(summaryFile, code)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})

async function jest(summaryFile, args) {
  const given = process.env['NODE_OPTIONS'] ?? ''
  const nodeOptions = `${given} --experimental-vm-modules --disable-warning=ExperimentalWarning`.trim()
  const child = spawn(
    process.execPath,
    [
      path.join(root, 'node_modules/jest/bin/jest.js'),
      '--reporters=default',
      `--reporters=${path.join(root, 'scripts/count-reporter.mjs')}`,
      ...args,
    ],
    { cwd: root, stdio: 'inherit', env: { ...process.env, NODE_OPTIONS: nodeOptions, TEST_SUMMARY_FILE: summaryFile } },
  )
  // Ctrl-C reaches Jest by itself, and Jest stops its PostgreSQL; we wait for that.
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (status) => resolve(status ?? 1))
  })
}

function report(summaryFile, code) {
  let summary
  try {
    summary = JSON.parse(readFileSync(summaryFile, 'utf8'))
  } catch {
    console.log('Jest ended without a result.\n0 passed, 1 failed')
    return 1
  }
  // A filter (`npm test -- -t name`) leaves tests out on purpose; nothing else may.
  const leftOut = process.argv.length > 2 ? 0 : summary.skipped
  const failed = summary.failed + leftOut
  if (leftOut > 0) console.log(`${leftOut} did not run: that counts as failed.`)
  console.log(`${summary.passed} passed, ${failed === 0 && code !== 0 ? 1 : failed} failed`)
  return code !== 0 ? code : failed > 0 ? 1 : 0
}
