import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { schemathesis } from '@cliscale/test-kit'
import { apiOf, removeFolder, temporaryFolder, Up } from './support.ts'

const DOCUMENT = path.resolve(import.meta.dirname, '../../docs/api/openapi.json')

jest.setTimeout(300_000)

describe('the API on one machine', () => {
  let root: string
  let up: Up
  let at: { base: string; key: string; folder: string }
  beforeAll(async () => {
    root = await temporaryFolder()
    const dataDir = path.join(root, 'data')
    const limits = { CLISCALE_SESSIONS_PER_MINUTE: '100000', CLISCALE_MAX_ACTIVE_SESSIONS: '100000' }
    up = new Up({ CLISCALE_DATA_DIR: dataDir, ...limits })
    const { base } = await apiOf(await up.ready(240_000), dataDir)
    at = { base, folder: root, key: (await readFile(path.join(dataDir, 'api-key'), 'utf8')).trim() }
  }, 240_000)
  afterAll(async () => {
    await up[Symbol.asyncDispose]()
    await removeFolder(root)
  })

  test('behaves as its OpenAPI description says, whatever it is sent', async () => {
    const { passed, output } = await schemathesis(DOCUMENT, at)
    expect({ passed, output: passed ? '' : output }).toEqual({ passed: true, output: '' })
    expect(output).toMatch(/Tested: 9/)
  })

  test('fails against a wrong description', async () => {
    const document = JSON.parse(await readFile(DOCUMENT, 'utf8')) as Description
    document.components.schemas['CreateSessionResponse']!.properties['sessionId'] = { type: 'integer' }
    delete document.paths['/api/sessions/{id}']!['get']!.responses['404']
    const wrong = path.join(root, 'wrong.json')
    await writeFile(wrong, JSON.stringify(document))
    const { passed, output } = await schemathesis(wrong, {
      ...at,
      args: ['--max-examples', '3', '--phases', 'coverage'],
    })
    expect(passed).toBe(false)
    expect(output).toMatch(/GET \/api\/sessions\/\{id\} _+\n[^]*Undocumented status code\s+Received: 404/)
    expect(output).toMatch(/POST \/api\/sessions _+\n[^]*Response violates schema[^]*is not of type "integer"/)
  })
})

interface Description {
  readonly components: { readonly schemas: Record<string, { readonly properties: Record<string, unknown> }> }
  readonly paths: Record<string, Record<string, { readonly responses: Record<string, unknown> }>>
}
