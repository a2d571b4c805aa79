import { readFile } from 'node:fs/promises'

/**
 * xterm.js 6.0.0 draws dim text at half its strength and asks only half of `minimumContrastRatio` of it, so that it falls
 * under the 4.5 of WCAG (to 1.8 for some colours on white). Nothing in its API changes that. Here dim text is mixed with
 * its ground instead, and then gets the whole ratio. One expression in each of its two renderers; the build fails where
 * one is not found, as after an update.
 *
 * Lines and blocks are not text, so both renderers leave their colours. But its DOM renderer, which draws cells of one style
 * together, decides by the first cell for all: text after a line, as in "── code fetched", stayed too faint. A second
 * expression there begins anew where a line ends and text begins.
 */
const STRENGTH = 0.65
const ALPHA = Math.round(STRENGTH * 255)

/** What xterm.js's treatGlyphAsBackgroundColor takes for no text: lines, blocks and Powerline's symbols. */
const DRAWN = String.raw`/[\u2500-\u259f\ue0a4-\ue0d6]/`

const PATCHES = [
  {
    file: /@xterm[\\/]xterm[\\/]lib[\\/]xterm\.mjs$/,
    changes: [
      {
        from: /let (\w+)=(this\._optionsService\.rawOptions\.minimumContrastRatio)\/\((\w+)\.isDim\(\)\?2:1\);(\w+)=(\w+)\.ensureContrastRatio\((\w+)\|\|(\w+),(\w+)\|\|(\w+),\1\)/,
        // A ground of the page's own (a selection) is opaque; the one that is made for dim cells is not.
        to:
          'let $1=$2,$$g=$6&&($6.rgba&255)===255?$6:$7,$$f=$3.isDim()?$5.blend($$g,$5.multiplyOpacity($8||$9,' +
          `${STRENGTH}` +
          ')):$8||$9;$4=$5.ensureContrastRatio($$g,$$f,$1)??($3.isDim()?$$f:void 0)',
      },
      {
        // The cell joins those before it: (its cell).isInvisible() ? (their text) += ' ' : (their text) += (its characters).
        from: /&&(\w+)\)\{(\w+)\.isInvisible\(\)\?(\w+)\+=(\w+):\3\+=(\w+),(\w+)\+\+;continue\}/,
        to: `&&$1&&${DRAWN}.test($3.slice(-1))===${DRAWN}.test($5))` + '{$2.isInvisible()?$3+=$4:$3+=$5,$6++;continue}',
      },
    ],
  },
  {
    file: /@xterm[\\/]addon-webgl[\\/]lib[\\/]addon-webgl\.mjs$/,
    changes: [
      {
        from: /(\w+)=(\w+)\.ensureContrastRatio\((\w+),(\w+),(this\._config\.minimumContrastRatio)\/\((\w+)\?2:1\)\);/,
        to: `$$f=$6?$2.blend($3,($4&-256|${ALPHA})>>>0):$4,` + '$1=$2.ensureContrastRatio($3,$$f,$5)??($6?$$f:void 0);',
      },
    ],
  },
]

/** Makes dim text legible, in a bundle of esbuild's. */
export const legibleDim = {
  name: 'legible-dim',
  setup(build) {
    for (const { file, changes } of PATCHES) {
      build.onLoad({ filter: file }, async ({ path }) => {
        let contents = await readFile(path, 'utf8')
        for (const { from, to } of changes) {
          if (!from.test(contents)) throw new Error(`${path} draws dim text otherwise than ${file} is known to`)
          contents = contents.replace(from, to)
        }
        return { contents, loader: 'js' }
      })
    }
  },
}
