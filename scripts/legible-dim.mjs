import { readFile } from 'node:fs/promises'

/**
 * xterm.js 6.0.0 draws dim text at half its strength and asks only half of `minimumContrastRatio` of it, so that it falls
 * under the 4.5 of WCAG (to 1.8 for some colours on white). Nothing in its API changes that. Here dim text is mixed with
 * its ground instead, and then gets the whole ratio. One expression in each of its two renderers; the build fails where
 * one is not found, as after an update.
 */
const STRENGTH = 0.65
const ALPHA = Math.round(STRENGTH * 255)

const PATCHES = [
  {
    file: /@xterm[\\/]xterm[\\/]lib[\\/]xterm\.mjs$/,
    from: /let (\w+)=(this\._optionsService\.rawOptions\.minimumContrastRatio)\/\((\w+)\.isDim\(\)\?2:1\);(\w+)=(\w+)\.ensureContrastRatio\((\w+)\|\|(\w+),(\w+)\|\|(\w+),\1\)/,
    // A ground of the page's own (a selection) is opaque; the one that is made for dim cells is not.
    to:
      'let $1=$2,$$g=$6&&($6.rgba&255)===255?$6:$7,$$f=$3.isDim()?$5.blend($$g,$5.multiplyOpacity($8||$9,' +
      `${STRENGTH}` +
      ')):$8||$9;$4=$5.ensureContrastRatio($$g,$$f,$1)??($3.isDim()?$$f:void 0)',
  },
  {
    file: /@xterm[\\/]addon-webgl[\\/]lib[\\/]addon-webgl\.mjs$/,
    from: /(\w+)=(\w+)\.ensureContrastRatio\((\w+),(\w+),(this\._config\.minimumContrastRatio)\/\((\w+)\?2:1\)\);/,
    to: `$$f=$6?$2.blend($3,($4&-256|${ALPHA})>>>0):$4,` + '$1=$2.ensureContrastRatio($3,$$f,$5)??($6?$$f:void 0);',
  },
]

/** Makes dim text legible, in a bundle of esbuild's. */
export const legibleDim = {
  name: 'legible-dim',
  setup(build) {
    for (const { file, from, to } of PATCHES) {
      build.onLoad({ filter: file }, async ({ path }) => {
        const source = await readFile(path, 'utf8')
        if (!from.test(source)) throw new Error(`${path} draws dim text otherwise than ${file} is known to`)
        return { contents: source.replace(from, to), loader: 'js' }
      })
    }
  },
}
