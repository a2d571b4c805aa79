import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import { legibleDim } from './legible-dim.mjs'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
/**
 * Where the assets are, seen from a session's page (`/ws/<id>`) and from the landing page (`/`): a proxy may serve us
 * under a path of its own.
 */
const FROM = { 'terminal.html': 'assets/', 'landing.html': 'ws/assets/' }

/**
 * Builds the terminal page and the landing page: `public/*.html` and `public/assets/*` with content hashes in their names,
 * minified, without source maps and without inline script or style, each with `.br` and `.gz` beside it where packing helps. Assets are written before the page that names them and old
 * ones removed after it, so that a gateway that serves meanwhile never names a missing file.
 * Needs `contract/dist` and `client/dist`. Returns the sizes written, in bytes.
 */
export async function buildWeb({ publicDir = path.join(root, 'ws-gateway/public'), packs = true } = {}) {
  const pack = packs ? packFile : async () => {}
  const assetDir = path.join(publicDir, 'assets')
  await mkdir(assetDir, { recursive: true })
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: { terminal: 'web/src/main.ts', landing: 'web/src/landing.ts' },
    outdir: assetDir,
    entryNames: '[name]-[hash]',
    assetNames: '[name]-[hash]',
    publicPath: FROM['terminal.html'],
    bundle: true,
    format: 'esm',
    // What Chrome 114, Firefox 125 and Safari 17 know: the popover attribute is the newest thing that is used.
    target: ['chrome114', 'firefox125', 'safari17'],
    loader: { '.svg': 'file' },
    plugins: [legibleDim],
    minify: true,
    metafile: true,
    legalComments: 'none',
    logLevel: 'warning',
  })
  const outputs = Object.entries(metafile.outputs).map(([file, { bytes }]) => ({ name: path.basename(file), bytes }))
  for (const { name } of outputs) await pack(path.join(assetDir, name))
  for (const page of Object.keys(FROM)) await writePage({ publicDir, page, outputs, pack })
  const current = new Set(outputs.flatMap(({ name }) => [name, ...Object.keys(PACKERS).map((ending) => name + ending)]))
  const stale = (await readdir(assetDir)).filter((name) => !current.has(name))
  await Promise.all(stale.map((name) => rm(path.join(assetDir, name))))
  return outputs
}

/** A page with the names of its files in it. */
async function writePage({ publicDir, page, outputs, pack }) {
  const kind = path.basename(page, '.html')
  const named = (pattern) => {
    const found = outputs.find(({ name }) => pattern.test(name))
    if (found === undefined) throw new Error(`the build made no file like ${pattern}`)
    return FROM[page] + found.name
  }
  const html = (await readFile(path.join(root, 'web/src', page), 'utf8'))
    .replace('{{script}}', named(new RegExp(`^${kind}-.*\\.js$`)))
    .replace('{{style}}', named(new RegExp(`^${kind}-.*\\.css$`)))
    .replace('{{icon}}', named(/^waiting-.*\.svg$/))
  const file = path.join(publicDir, page)
  // Packed first, under a name that nobody asks for: a page and its packed forms change at once, or nearly.
  await writeFile(`${file}.new`, html)
  await pack(`${file}.new`)
  for (const ending of Object.keys(PACKERS)) await rename(`${file}.new${ending}`, file + ending).catch(ignoreMissing)
  await rename(`${file}.new`, file)
}

const PACKERS = {
  '.br': (bytes) => promisify(brotliCompress)(bytes, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }),
  '.gz': (bytes) => promisify(gzip)(bytes, { level: 9 }),
}

/** Writes a file's packed forms beside it, as far as they are smaller. */
async function packFile(file) {
  const bytes = await readFile(file)
  await Promise.all(
    Object.entries(PACKERS).map(async ([ending, packer]) => {
      const packed = await packer(bytes)
      if (packed.length < bytes.length) await writeFile(file + ending, packed)
      else await rm(file + ending, { force: true })
    }),
  )
}

function ignoreMissing(error) {
  if (error.code !== 'ENOENT') throw error
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  for (const { name, bytes } of await buildWeb()) console.log(`${String(bytes).padStart(8)}  assets/${name}`)
}
