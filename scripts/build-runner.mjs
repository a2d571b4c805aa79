import { mkdir, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')

/**
 * Bundles the runner's programs into `runner/dist/programs/{host,work}.js` and its threads. Each session starts both, and most of
 * what a start costs is loading hundreds of small modules: bundled, the host starts in less than half the processor
 * time. Only the terminal's native binding stays outside.
 */
export async function buildRunner() {
  const target = path.join(root, 'runner/dist/programs')
  const draft = `${target}.${process.pid}`
  await mkdir(path.dirname(target), { recursive: true })
  await build({
    absWorkingDir: root,
    entryPoints: {
      host: 'runner/src/host/main.ts',
      work: 'runner/src/worker/main.ts',
      // The host starts these as threads, from the files beside its own.
      'loop-watch-thread': 'runner/src/host/loop-watch-thread.ts',
      'screen-worker': 'runner/src/host/terminal/screen-worker.ts',
    },
    outdir: draft,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    external: ['@lydell/node-pty'],
    // CommonJS modules inside the bundle load Node's own modules by require.
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module';const require = __createRequire(import.meta.url);",
    },
    minify: true,
    keepNames: true,
    legalComments: 'none',
    logLevel: 'warning',
  })
  // In one step, for a session may be starting from them at this moment.
  await rm(`${draft}.old`, { recursive: true, force: true })
  await rename(target, `${draft}.old`).catch((error) => {
    if (error.code !== 'ENOENT') throw error
  })
  await rename(draft, target)
  await rm(`${draft}.old`, { recursive: true, force: true })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildRunner()
