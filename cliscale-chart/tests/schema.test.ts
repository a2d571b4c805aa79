import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { caseNamed, textOf, VALUES_CASES, whyNoHelm } from './helm.ts'
import { writeSchemas } from './kubernetes-schema.ts'

/** The OpenAPI document of Kubernetes 1.35, gzipped. */
const SWAGGER =
  process.env['CLISCALE_K8S_SCHEMA'] ??
  fileURLToPath(new URL('../../../shared/corpora/k8s/swagger-v1.35.0.json.gz', import.meta.url))

const whyNot =
  whyNoHelm ??
  (spawnSync('kubeconform', ['-v']).error ? 'kubeconform is not in the PATH' : undefined) ??
  (existsSync(SWAGGER) ? undefined : `there is no ${SWAGGER} (CLISCALE_K8S_SCHEMA names another)`)

if (whyNot === undefined) {
  let folder = ''
  beforeAll(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'cliscale-schemas-'))
    writeSchemas(SWAGGER, folder)
    VALUES_CASES.forEach(textOf)
  }, 120_000)
  afterAll(() => rmSync(folder, { recursive: true }))

  /** kubeconform's findings about objects, in words. */
  const faultsOf = (objects: string): string[] => {
    const location = path.join(folder, '{{.ResourceKind}}{{.KindSuffix}}.json')
    const args = ['-strict', '-n', '1', '-output', 'json', '-schema-location', location]
    const { stdout } = spawnSync('kubeconform', args, { input: objects, encoding: 'utf8' })
    const { resources = [] } = JSON.parse(stdout) as { resources?: { kind: string; name: string; msg: string }[] }
    return resources.map(({ kind, name, msg }) => `${kind} ${name}: ${msg}`)
  }

  describe('objects by the schemas of Kubernetes 1.35', () => {
    test.each(VALUES_CASES)('$name is valid', (given) => {
      expect(faultsOf(textOf(given))).toEqual([])
    })

    const broken: [string, RegExp | string, string, string][] = [
      ['an unknown field', '\n  replicas: ', '\n  replica: ', 'replica'],
      ['text for a number', /replicas: \d/, 'replicas: two', 'replicas'],
      ['an unknown field of a container', 'imagePullPolicy:', 'imagePullpolicy:', 'imagePullpolicy'],
      ['an unknown kind', 'kind: PodDisruptionBudget', 'kind: PodDisruptionBudgets', 'PodDisruptionBudgets'],
      ["Google's limit of a day", 'timeoutSec: 86400', 'timeoutSec: 86401', '86,400'],
      ['an unknown field of a Google object', 'drainingTimeoutSec', 'drainingTimeoutSecs', 'drainingTimeoutSecs'],
      ['a port that is text', 'containerPort: 7080', 'containerPort: http', 'containerPort'],
      ['a policy with an unknown selector', 'podSelector: {}', 'podSelectors: {}', 'podSelectors'],
      ['an interval without its unit', 'interval: 30s', 'interval: 30', 'interval'],
    ]
    test.each(broken)('%s is found', (_what, pattern, replacement, word) => {
      const text = textOf(caseNamed('staging'))
      const changed = text.replace(pattern, replacement)
      expect(changed).not.toBe(text)
      expect(faultsOf(changed).join('\n')).toContain(word)
    })
  })
} else {
  test('without its tools, the chart is not checked against the schemas of Kubernetes', () => {
    console.log(`The chart is not held against the schemas of Kubernetes: ${whyNot}.`)
    expect(whyNot).not.toBe('')
  })
}
