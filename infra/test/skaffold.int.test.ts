import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { parse } from 'yaml'
import { at, has, helmTemplate, read, readYaml, root, syntaxFaults } from './repository.ts'

interface Release {
  readonly name: string
  readonly namespace: string
  readonly chartPath: string
  readonly createNamespace: boolean
  readonly wait: boolean
  readonly valuesFiles: readonly string[]
  readonly setValues?: Readonly<Record<string, string>>
  readonly setValueTemplates: Readonly<Record<string, string>>
}
interface Config {
  readonly apiVersion: string
  readonly build: { artifacts: { image: string; docker: { dockerfile: string } }[] }
  readonly deploy: {
    statusCheck: boolean
    helm: {
      releases: Release[]
      flags: Record<'install' | 'upgrade', string[]>
      hooks: { before: { host: { command: string[] } }[] }
    }
  }
  readonly profiles: { name: string; build?: object; deploy?: Config['deploy']; portForward?: Forward[] }[]
}
interface Forward {
  readonly resourceName: string
  readonly namespace: string
  readonly port: number
  readonly localPort: number
}

const configOf = (text: string) => parse(text, { merge: true }) as Config
const config = configOf(read('skaffold.yaml'))
const values = readYaml('cliscale-chart/values.yaml')
const PROFILES = ['staging', 'production', 'dev']

/** What a profile deploys: its own section where it has one. */
function deployOf({ deploy, profiles }: Config, profile: string): Config['deploy'] {
  return profiles.find(({ name }) => name === profile)?.deploy ?? deploy
}

/** The file name that a template of valuesFiles gives with an empty environment. */
function plainFile(template: string): string {
  return /^\{\{default "([^"]+)" \.CLISCALE_VALUES_FILE\}\}$/.exec(template)?.[1] ?? template
}

/** How Skaffold spells an image in names of template variables. */
const variableOf = (image: string) => `IMAGE_FULLY_QUALIFIED_${image.replaceAll(/[/-]/g, '_')}`

/** The faults of a configuration, as sentences. */
function faultsOf(given: Config): string[] {
  const faults: string[] = []
  if (given.apiVersion !== 'skaffold/v4beta14') faults.push('the schema is not the one of Skaffold 2.19')
  for (const { docker } of given.build.artifacts)
    if (!existsSync(path.join(root, docker.dockerfile))) faults.push(`${docker.dockerfile} does not exist`)
  return [...faults, ...PROFILES.flatMap((profile) => faultsOfProfile(given, profile))]
}

function faultsOfProfile(given: Config, profile: string): string[] {
  const { statusCheck, helm } = deployOf(given, profile)
  const [release] = helm.releases
  if (release === undefined) return [`${profile}: deploys nothing`]
  const faults: string[] = []
  if (!release.wait) faults.push('Helm does not wait for the migration')
  if (statusCheck) faults.push('Skaffold waits once more for what Helm has waited for')
  const used = Object.values(release.setValueTemplates).join(' ')
  for (const { image } of given.build.artifacts)
    if (!used.includes(`{{.${variableOf(image)}}}`)) faults.push(`the image ${image} reaches no value`)
  for (const key of Object.keys({ ...release.setValueTemplates, ...release.setValues }))
    if (at(values, ...key.split('.')) === undefined) faults.push(`${key} is no value of the chart`)
  for (const file of release.valuesFiles.map(plainFile))
    if (!existsSync(path.join(root, file))) faults.push(`${file} does not exist`)
  for (const [name, flags] of Object.entries(helm.flags))
    if (minutesOf(flags) * 60 < 2 * (5 + drainSeconds())) faults.push(`${name} gives up before old pods may be gone`)
  return faults.map((fault) => `${profile}: ${fault}`)
}

const drainSeconds = () =>
  Math.max(...['controller', 'gateway'].map((name) => Number(at(values, name, 'drainSeconds'))))
const minutesOf = (flags: string[]) => Number(/--timeout=(\d+)m/.exec(flags.join(' '))?.[1] ?? 5)

describe('skaffold.yaml', () => {
  test('keeps every rule', () => {
    expect(faultsOf(config)).toEqual([])
  })

  const changes: [what: string, from: string, to: string, fault: string][] = [
    [
      'the runner’s image is left out',
      "          runner.image: '{{.IMAGE_FULLY_QUALIFIED_runner}}'\n",
      '',
      'staging: the image runner reaches no value',
    ],
    ['a value is misspelt', 'gateway.image:', 'gatway.image:', 'staging: gatway.image is no value of the chart'],
    ['Helm does not wait', 'wait: true', 'wait: false', 'staging: Helm does not wait for the migration'],
    ['a Dockerfile moves', 'runner/Dockerfile', 'runner/Containerfile', 'runner/Containerfile does not exist'],
    [
      'a values file is missing',
      'values-staging.yaml',
      'values-stage.yaml',
      'staging: cliscale-chart/values-stage.yaml does not exist',
    ],
    ['the schema is older', 'v4beta14', 'v4beta13', 'the schema is not the one of Skaffold 2.19'],
  ]
  test.each(changes)('is refused when %s', (_what, from, to, fault) => {
    const text = read('skaffold.yaml')
    expect(text).toContain(from)
    expect(faultsOf(configOf(text.replaceAll(from, to)))).toContain(fault)
  })

  test('deploys the release and namespace that every command in the documents names', () => {
    for (const profile of PROFILES)
      expect(deployOf(config, profile).helm.releases).toMatchObject([
        { name: 'cliscale', namespace: 'ws-cli', chartPath: 'cliscale-chart', createNamespace: true },
      ])
  })

  test('puts the release namespace under restricted pod security before it deploys', () => {
    for (const profile of PROFILES) {
      const [hook] = deployOf(config, profile).helm.hooks.before
      const [shell, flag, script = ''] = hook?.host.command ?? []
      expect([shell, flag]).toEqual(['sh', '-c'])
      expect(syntaxFaults(script)).toBe('')
      expect(script).toMatch(
        /label namespace ws-cli --overwrite[\s\S]*pod-security\.kubernetes\.io\/enforce=restricted/,
      )
    }
    expect(syntaxFaults('if true; then')).not.toBe('')
  })
})

if (has('helm', 'version'))
  describe('what skaffold.yaml deploys', () => {
    const digest = 'a'.repeat(64)
    const registry = 'us-central1-docker.pkg.dev/proj/apps'

    /** As Skaffold calls Helm: images by tag and digest, everything else from the profile. */
    function render(profile: string): string {
      const [release] = deployOf(config, profile).helm.releases as [Release]
      const sets = [
        ...Object.entries(release.setValues ?? {}),
        ...Object.entries(release.setValueTemplates).map(([key, template]) => [key, reference(template)] as const),
        ...(profile === 'dev' ? [] : SITE),
      ].flatMap(([key, value]) => ['--set', `${key}=${value}`])
      const files = release.valuesFiles.flatMap((file) => ['-f', plainFile(file)])
      return helmTemplate(...files, ...sets)
    }

    const SITE = [
      ['ingress.hostname', 'cliscale.example.com'],
      ['database.cloudSql.instance', 'proj:us-central1:cliscale'],
      ['database.cloudSql.user', 'cliscale-controller@proj.iam'],
      ['database.cloudSql.gatewayUser', 'cliscale-gateway@proj.iam'],
    ] as const

    function reference(template: string): string {
      const image = config.build.artifacts.find((artifact) => template === `{{.${variableOf(artifact.image)}}}`)?.image
      return `${registry}/${String(image)}:0123abc@sha256:${digest}`
    }

    test.each(PROFILES)('by the profile %s has each image by its digest, the runner’s in no pod', (profile) => {
      // `helm test` starts pods as the controller starts sessions; they are no part of what is deployed.
      const documents = render(profile)
        .split(/^---$/m)
        .filter((text) => !/helm\.sh\/hook: test/.test(text))
      const withImage = (image: string) =>
        documents
          .filter((text) => text.includes(`${registry}/${image}:0123abc@sha256:${digest}`))
          .map((text) => /^kind: (\w+)/m.exec(text)?.[1])
      expect(withImage('controller')).toEqual(expect.arrayContaining(['Deployment', 'Job']))
      expect(withImage('ws-gateway')).toEqual(['Deployment'])
      expect(withImage('runner')).toEqual(['ConfigMap'])
    })

    test('forwards ports that its services have', () => {
      const forwards = config.profiles.find(({ name }) => name === 'dev')?.portForward ?? []
      const services = render('dev')
        .split(/^---$/m)
        .filter((text) => /^kind: Service$/m.test(text))
        .map((text) => parse(text) as { metadata: { name: string }; spec: { ports: { port: number }[] } })
      expect(forwards.map(({ localPort }) => localPort)).toEqual([7080, 7081])
      for (const { resourceName, namespace, port } of forwards) {
        const service = services.find(({ metadata }) => metadata.name === resourceName)
        expect(service?.spec.ports.map((entry) => entry.port)).toContain(port)
        expect(namespace).toBe('ws-cli')
      }
    })
  })
else console.warn('Not run: rendering what skaffold.yaml deploys, because helm is not in the PATH.')

const skaffold = process.env['SKAFFOLD_BIN'] ?? 'skaffold'
if (has(skaffold, 'version'))
  describe('Skaffold itself', () => {
    test.each(PROFILES)('accepts the profile %s', (profile) => {
      const { stdout, stderr, status } = spawnSync(skaffold, ['diagnose', '--yaml-only', '--profile', profile], {
        cwd: root,
        encoding: 'utf8',
        env: { ...process.env, SKAFFOLD_INTERACTIVE: 'false', SKAFFOLD_UPDATE_CHECK: 'false' },
      })
      expect({ status, stderr }).toMatchObject({ status: 0 })
      expect(at(parse(stdout), 'deploy', 'helm', 'releases', 0, 'name')).toBe('cliscale')
    })
  })
else console.warn('Not run: skaffold diagnose, because skaffold is neither in the PATH nor named by SKAFFOLD_BIN.')
