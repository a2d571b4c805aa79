/** The command that replaces the signing key, against the API server of a real cluster. */
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { generateSigningKey, kidOf, splitPem } from '../src/tokens/signer.ts'

const kubeconfig = process.env['E2E_KUBECONFIG']
const program = fileURLToPath(new URL('../dist/tokens/rotate-cli.js', import.meta.url))

async function run(file: string, args: readonly string[], env: Record<string, string>, input?: string) {
  const child = spawn(file, args, {
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (data: Buffer) => (stdout += data.toString()))
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()))
  child.stdin.end(input)
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stdout, stderr }
}

test('the command names the settings that it lacks, and says when there is no cluster', async () => {
  const none = await run(process.execPath, [program], {})
  expect([none.code, none.stderr]).toEqual([78, expect.stringContaining('CLISCALE_SIGNING_KEY_SECRET is required')])
  const settings = { CLISCALE_SIGNING_KEY_SECRET: 'a', CLISCALE_SIGNING_KEY_NAMESPACE: 'b' }
  const nowhere = await run(process.execPath, [program], settings)
  expect([nowhere.code, nowhere.stdout]).toEqual([1, ''])
  expect(nowhere.stderr.trim().split('\n')).toHaveLength(1)
})

if (kubeconfig === undefined) console.log('E2E_KUBECONFIG is not set: the Secret of a real cluster is not rotated here')
else
  describe('on a cluster', () => {
    const namespace = `rotate-${randomUUID().slice(0, 8)}`
    const kubectl = (args: string, input?: string) =>
      run('kubectl', ['--kubeconfig', kubeconfig, '-n', namespace, ...args.split(' ')], {}, input)
    const rotate = (env: Record<string, string> = {}) =>
      run(process.execPath, [program], {
        KUBECONFIG: kubeconfig,
        CLISCALE_SIGNING_KEY_SECRET: 'cliscale-signing-key',
        CLISCALE_SIGNING_KEY_NAMESPACE: namespace,
        CLISCALE_ROTATION_PUBLISH_SECONDS: '2',
        CLISCALE_ROTATION_RETIRE_SECONDS: '2',
        ...env,
      })
    const secret = async () => {
      const { stdout } = await kubectl('get secret cliscale-signing-key -o json')
      return JSON.parse(stdout) as {
        data: Record<string, string>
        metadata: { annotations: Record<string, string>; labels: Record<string, string> }
      }
    }
    const keys = async () => splitPem(Buffer.from((await secret()).data['signing-key.pem']!, 'base64').toString())

    beforeAll(async () => {
      await kubectl(`create namespace ${namespace}`)
      const data = { 'signing-key.pem': Buffer.from(await generateSigningKey()).toString('base64'), other: 'eA==' }
      const metadata = {
        name: 'cliscale-signing-key',
        labels: { a: 'b' },
        annotations: { 'helm.sh/resource-policy': 'keep' },
      }
      await kubectl('apply -f -', JSON.stringify({ apiVersion: 'v1', kind: 'Secret', metadata, data }))
    })
    afterAll(async () => void (await kubectl(`delete namespace ${namespace} --wait=false`)))

    test('two at once replace the key once, and keep everything that is not theirs', async () => {
      const old = await kidOf((await keys())[0]!)
      for (const { code, stdout, stderr } of await Promise.all([rotate(), rotate()])) {
        expect([code, stderr]).toEqual([0, ''])
        expect(stdout).toContain('The rotation is complete.')
        expect(stdout).not.toContain('PRIVATE')
      }
      const [fresh, retired, ...more] = await keys()
      expect([fresh, retired, more]).toEqual([
        expect.stringContaining('BEGIN PRIVATE KEY'),
        expect.stringContaining('BEGIN PUBLIC KEY'),
        [],
      ])
      expect(await kidOf(retired!)).toBe(old)
      const { data, metadata } = await secret()
      expect([data['other'], metadata.labels]).toEqual(['eA==', { a: 'b' }])
      expect(metadata.annotations).toMatchObject({ 'helm.sh/resource-policy': 'keep' })
    }, 60_000)

    test('a missing Secret is explained in one sentence', async () => {
      const { code, stderr } = await rotate({ CLISCALE_SIGNING_KEY_SECRET: 'none' })
      expect([code, stderr]).toEqual([1, 'secrets "none" not found\n'])
    })
  })
