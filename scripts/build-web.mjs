import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
/** Where the gateway serves assets from; part of the page's addresses. */
const ASSET_PATH = '/ws/assets/'

/**
 * Builds the terminal page: `public/terminal.html` and `public/assets/*` with content hashes in their names, minified,
 * without source maps and without inline script or style. Assets are written before the page that names them and old
 * ones removed after it, so that a gateway that serves meanwhile never names a missing file.
 * Needs `contract/dist`. Returns the sizes written, in bytes.
 */
export async function buildWeb({ publicDir = path.join(root, 'ws-gateway/public') } = {}) {
  const assetDir = path.join(publicDir, 'assets')
  await mkdir(assetDir, { recursive: true })
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: { terminal: 'web/src/main.ts' },
    outdir: assetDir,
    entryNames: '[name]-[hash]',
    assetNames: '[name]-[hash]',
    publicPath: ASSET_PATH,
    bundle: true,
    format: 'esm',
    // What Chrome 114, Firefox 125 and Safari 17 know: the popover attribute is the newest thing that is used.
    target: ['chrome114', 'firefox125', 'safari17'],
    loader: { '.svg': 'file' },
    minify: true,
    metafile: true,
    legalComments: 'none',
    logLevel: 'warning',
  })
  const outputs = Object.entries(metafile.outputs).map(([file, { bytes }]) => ({ name: path.basename(file), bytes }))
  const named = (pattern) => {
    const found = outputs.find(({ name }) => pattern.test(name))
    if (found === undefined) throw new Error(`the build made no file like ${pattern}`)
    return ASSET_PATH + found.name
  }
  const template = await readFile(path.join(root, 'web/src/terminal.html'), 'utf8')
  const html = template
    .replace('{{script}}', named(/^terminal-.*\.js$/))
    .replace('{{style}}', named(/^terminal-.*\.css$/))
    .replace('{{icon}}', named(/^waiting-.*\.svg$/))
  await writeFile(path.join(publicDir, 'terminal.html.new'), html)
  await rename(path.join(publicDir, 'terminal.html.new'), path.join(publicDir, 'terminal.html'))
  const current = new Set(outputs.map(({ name }) => name))
  const stale = (await readdir(assetDir)).filter((name) => !current.has(name))
  await Promise.all(stale.map((name) => rm(path.join(assetDir, name))))
  return outputs
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  for (const { name, bytes } of await buildWeb()) console.log(`${String(bytes).padStart(8)}  assets/${name}`)
}
