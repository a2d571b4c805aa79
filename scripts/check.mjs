/**
 * `npm run check`: types, lint, format, dead code, and generated files that still fit their sources. Everything is
 * run, also after a failure. Ends with "N passed, N failed".
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { prepare, root, runScript } from './prepare.mjs'

runScript(async () => {
  await prepare()
  const checks = { types: checkTypes, lint, format, 'dead code': deadCode, 'generated files': generatedFiles }
  const failed = []
  for (const [name, check] of Object.entries(checks)) {
    console.log(`\n== ${name}`)
    if (!check()) failed.push(name)
  }
  const total = Object.keys(checks).length
  if (failed.length > 0) console.log(`\nNot in order: ${failed.join(', ')}`)
  console.log(`${total - failed.length} passed, ${failed.length} failed`)
  process.exitCode = failed.length > 0 ? 1 : 0
})

/** `tsc -b` was done by prepare; tests have projects of their own, which emit nothing. */
function checkTypes() {
  const projects = [...workspaces(), 'infra', 'cliscale-chart'].flatMap((name) =>
    [`${name}/tsconfig.test.json`, ...(isBuilt(name) ? [] : [`${name}/tsconfig.json`])].filter((file) =>
      existsSync(path.join(root, file)),
    ),
  )
  return projects.map((file) => tool('typescript/bin/tsc', '-p', file, ...incremental(file))).every(Boolean)
}

/** What tsc found is kept, so that only what changed is checked again. */
function incremental(file) {
  return ['--incremental', '--tsBuildInfoFile', path.join('.cache/types', `${file.replaceAll('/', '-')}.tsbuildinfo`)]
}

function lint() {
  return tool('oxlint/bin/oxlint', '--type-aware', '--deny-warnings')
}

function format() {
  // The cache lies in node_modules; by content, because a clone or a rebase changes every file's time.
  return tool('prettier/bin/prettier.cjs', '--check', '--log-level=warn', '--cache', '--cache-strategy=content', '.')
}

function deadCode() {
  return tool('knip/bin/knip.js')
}

/** Runs each workspace's `generate` script; afterwards no generated file may have changed. */
function generatedFiles() {
  const before = fingerprint()
  for (const name of workspaces()) {
    const { scripts } = JSON.parse(readFileSync(path.join(root, name, 'package.json'), 'utf8'))
    if (scripts?.generate === undefined) continue
    if (!run('npm', ['run', '--silent', 'generate', '-w', name])) return false
  }
  const after = fingerprint()
  const changed = [...after.keys()].filter((file) => after.get(file) !== before.get(file))
  if (changed.length > 0) console.log(`Generated anew, so these were stale: ${changed.join(', ')}`)
  return changed.length === 0
}

/** Every file of a kind that is generated, with a hash of what it holds. */
function fingerprint() {
  const args = [
    'ls-files',
    '-z',
    '--cached',
    '--others',
    '--exclude-standard',
    '--',
    'docs',
    'cliscale-chart/files',
    '*.sql',
  ]
  const { stdout } = spawnSync('git', args, { cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 })
  const files = stdout.split('\0').filter((file) => file !== '' && existsSync(path.join(root, file)))
  return new Map(
    files.map((file) => [
      file,
      createHash('sha256')
        .update(readFileSync(path.join(root, file)))
        .digest('hex'),
    ]),
  )
}

function workspaces() {
  return JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')).workspaces
}

function isBuilt(name) {
  const { references } = JSON.parse(readFileSync(path.join(root, 'tsconfig.json'), 'utf8'))
  return references.some((reference) => reference.path === name)
}

function tool(file, ...args) {
  return run(process.execPath, [path.join(root, 'node_modules', file), ...args])
}

function run(command, args) {
  return spawnSync(command, args, { cwd: root, stdio: 'inherit' }).status === 0
}
