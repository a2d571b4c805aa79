import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, test } from '@jest/globals'
import { parse } from 'yaml'
import { CASES, CHART, caseNamed, helm, textOf, VALUES_CASES, whyNoHelm } from './helm.ts'
import { maskGenerated } from './mask.ts'

const GOLDEN = fileURLToPath(new URL('golden', import.meta.url))

describe('the pattern that hides random values', () => {
  const secret = (data: string) => `apiVersion: v1\nkind: Secret\nmetadata:\n  name: a\ndata:\n  ${data}\n`
  test('names a key of the right form by its form, and leaves any other as it is', () => {
    const key = Buffer.from(`cs_key_${'a'.repeat(40)}`).toString('base64')
    expect(maskGenerated(secret(`API_KEY: ${key}`))).toContain('API_KEY: <cs_key_ and 40 characters>')
    const short = Buffer.from(`cs_key_${'a'.repeat(39)}`).toString('base64')
    expect(maskGenerated(secret(`API_KEY: ${short}`))).toContain(`API_KEY: ${short}`)
  })

  test('leaves an object that is not a Secret as it is', () => {
    const text = secret(`API_KEY: ${Buffer.from(`cs_key_${'a'.repeat(40)}`).toString('base64')}`)
    expect(maskGenerated(text.replace('kind: Secret', 'kind: ConfigMap'))).toContain('API_KEY: Y3Nfa2V5')
  })
})

if (whyNoHelm !== undefined) console.log(`The chart is not rendered: ${whyNoHelm}.`)
else {
  describe('the rendered chart', () => {
    beforeAll(() => VALUES_CASES.forEach(textOf), 120_000)

    test('has values and a golden file for every case, and no others', () => {
      const names = VALUES_CASES.map(({ name }) => `${name}.yaml`).toSorted()
      expect(readdirSync(CASES).toSorted()).toEqual(names)
      if (!process.env['UPDATE_GOLDEN']) expect(readdirSync(GOLDEN).toSorted()).toEqual(names)
    })

    test.each(VALUES_CASES)('equals its golden file for $name', (given) => {
      const file = path.join(GOLDEN, `${given.name}.yaml`)
      // Helm 4 puts an empty line between objects, and Helm 3 none.
      const text = maskGenerated(textOf(given)).replaceAll(/\n+(?=---\n|$)/g, '\n')
      if (process.env['UPDATE_GOLDEN']) writeFileSync(file, text)
      expect(existsSync(file)).toBe(true)
      // The first line that differs is enough to read; the whole file has thousands.
      expect(firstDifference(text, readFileSync(file, 'utf8'))).toBeUndefined()
    })

    test.each(VALUES_CASES)('passes helm lint for $name', (given) => {
      const files = [...given.profiles.map((file) => path.join(CHART, file)), path.join(CASES, `${given.name}.yaml`)]
      const said = helm(['lint', '--strict', CHART, ...files.flatMap((file) => ['--values', file])])
      expect(said).toContain('0 chart(s) failed')
    })

    test('uses the chart’s own version as the default tag', () => {
      const values = parse(readFileSync(path.join(CHART, 'values.yaml'), 'utf8')) as { image: { tag: string } }
      const chart = parse(readFileSync(path.join(CHART, 'Chart.yaml'), 'utf8')) as Record<string, string>
      expect(values.image.tag).toBe(chart['appVersion'])
      expect(chart['version']).toBe(chart['appVersion'])
    })

    test('is the same twice when the keys are given', () => {
      const given = caseNamed('everything')
      const again = helm(
        `template ${given.release} ${CHART} --namespace ${given.namespace} --values ${path.join(CASES, 'everything.yaml')}`.split(
          ' ',
        ),
      )
      expect(firstDifference(again, textOf(given))).toBeUndefined()
    })
  })
}

function firstDifference(found: string, wanted: string): string | undefined {
  if (found === wanted) return undefined
  const [left, right] = [found.split('\n'), wanted.split('\n')]
  const at = left.findIndex((line, index) => line !== right[index])
  return `line ${at + 1} is ${JSON.stringify(left[at])}, in the golden file ${JSON.stringify(right[at])}; UPDATE_GOLDEN=1 writes it anew`
}
