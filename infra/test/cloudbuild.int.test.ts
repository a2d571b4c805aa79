import { describe, expect, test } from '@jest/globals'
import { parse } from 'yaml'
import { read, syntaxFaults } from './repository.ts'

interface Step {
  readonly id: string
  readonly name: string
  readonly waitFor: readonly string[]
  readonly timeout: string
  readonly script: string
  readonly env?: readonly string[]
}
interface Build {
  readonly substitutions: Readonly<Record<string, string>>
  readonly serviceAccount: string
  readonly timeout: string
  readonly options: Readonly<Record<string, unknown>>
  readonly steps: readonly Step[]
}

const buildOf = (text: string) => parse(text) as Build
const build = buildOf(read('cloudbuild.yaml'))
const step = ({ steps }: Build, id: string) => steps.find((candidate) => candidate.id === id)
const seconds = (text: string) => Number(/^(\d+)s$/.exec(text)?.[1])

/** All steps that have ended when one begins. */
function before(given: Build, id: string): Set<string> {
  const direct = (step(given, id)?.waitFor ?? []).filter((name) => name !== '-')
  return new Set(direct.flatMap((name) => [name, ...before(given, name)]))
}

/** Variables that Cloud Build itself sets for a script. */
const GIVEN = ['PROJECT_ID', 'BUILD_ID', 'COMMIT_SHA']

function faultsOf(given: Build): string[] {
  return [
    ...faultsOfOptions(given),
    ...given.steps.flatMap((one) => faultsOfStep(given, one).map((fault) => `${one.id}: ${fault}`)),
    ...faultsOfOrder(given),
  ]
}

function faultsOfOptions({ options, steps, serviceAccount, substitutions }: Build): string[] {
  const texts = steps.map(({ script }) => script).join('\n') + serviceAccount
  const used = [...texts.matchAll(/\$\{?(_[A-Z_]+)/g)].map(([, name = '']) => name)
  return [
    ...(options['automapSubstitutions'] === true ? [] : ['scripts see no substitutions']),
    ...(options['logging'] === 'CLOUD_LOGGING_ONLY' ? [] : ['a service account of one’s own needs CLOUD_LOGGING_ONLY']),
    ...used.filter((name) => !(name in substitutions)).map((name) => `${name} is no substitution`),
    ...Object.keys(substitutions)
      .filter((name) => !used.includes(name))
      .map((name) => `${name} is used nowhere`),
  ]
}

function faultsOfStep(given: Build, { name, waitFor, timeout, script, env = [] }: Step): string[] {
  const known = [...GIVEN, 'CLISCALE_VALUES_FILE', ...env.map((entry) => entry.split('=')[0] ?? '')]
  const version = name.split(':')[1] ?? (name === 'gcr.io/cloud-builders/docker' ? 'Google’s' : 'latest')
  return [
    ...(script.startsWith('#!/usr/bin/env bash\nset -euo pipefail\n') ? [] : ['goes on after a failure']),
    ...(syntaxFaults(script) === '' ? [] : [`is no bash: ${syntaxFaults(script)}`]),
    ...(seconds(timeout) > 0 ? [] : ['has no time limit']),
    ...(version === 'latest' ? [`${name} is another image every day`] : []),
    ...waitFor
      .filter((other) => other !== '-' && step(given, other) === undefined)
      .map((other) => `waits for ${other}, which is not there`),
    ...[...script.matchAll(/\$\{?([A-Z][A-Z_]+)\b/g)]
      .filter(([, variable = '']) => !known.includes(variable))
      .map(([, variable = '']) => `$${variable} is set by nobody`),
  ]
}

function faultsOfOrder(given: Build): string[] {
  const first = ['test', 'smoke', 'build-controller', 'build-ws-gateway', 'build-runner']
  return [
    ...first.filter((id) => !before(given, 'push').has(id)).map((id) => `push does not wait for ${id}`),
    ...(before(given, 'deploy').has('push') ? [] : ['deploy does not wait for push']),
    ...(seconds(given.timeout) < longest(given) ? ['the whole has less time than its steps'] : []),
  ]
}

/** The time of the slowest path through the steps. */
function longest(given: Build): number {
  const until = (id: string): number => {
    const found = step(given, id)
    if (found === undefined) return 0
    return seconds(found.timeout) + Math.max(0, ...found.waitFor.filter((name) => name !== '-').map(until))
  }
  return Math.max(...given.steps.map(({ id }) => until(id)))
}

describe('cloudbuild.yaml', () => {
  test('keeps every rule', () => {
    expect(faultsOf(build)).toEqual([])
  })

  const changes: [what: string, from: string | RegExp, to: string, fault: string][] = [
    ['images are pushed untried', 'waitFor: [test, smoke]', 'waitFor: [test]', 'push does not wait for smoke'],
    ['images are pushed untested', 'waitFor: [test, smoke]', 'waitFor: [smoke]', 'push does not wait for test'],
    ['a substitution is misspelt', '"$_PROFILE"', '"$_PROFIL"', '_PROFIL is no substitution'],
    ['a step goes on after a failure', 'set -euo pipefail\n      npm ci', 'npm ci', 'test: goes on after a failure'],
    ['a script is not bash', 'images=()', 'images=(', 'deploy: is no bash'],
    [
      'an image has no version',
      'skaffold:v2.19.0',
      'skaffold:latest',
      'deploy: gcr.io/k8s-skaffold/skaffold:latest is another image every day',
    ],
    [
      'nothing sets a variable',
      '"$COMPONENT/Dockerfile"',
      '"$FOLDER/Dockerfile"',
      'build-controller: $FOLDER is set by nobody',
    ],
    ['there is too little time', 'timeout: 5400s', 'timeout: 600s', 'the whole has less time than its steps'],
  ]
  test.each(changes)('is refused when %s', (_what, from, to, fault) => {
    const text = read('cloudbuild.yaml')
    const changed = text.replace(from, to)
    expect(changed).not.toBe(text)
    expect(faultsOf(buildOf(changed)).join('\n')).toContain(fault)
  })

  test('pushes and deploys the images of skaffold.yaml', () => {
    const { build: skaffold } = parse(read('skaffold.yaml'), { merge: true }) as {
      build: { artifacts: { image: string; docker: { dockerfile: string } }[] }
    }
    const images = skaffold.artifacts.map(({ image }) => image)
    const built = build.steps.filter(({ id }) => id.startsWith('build-')).map(({ env = [] }) => env[0])
    expect(built).toEqual(images.map((image) => `COMPONENT=${image}`))
    for (const { image, docker } of skaffold.artifacts) expect(docker.dockerfile).toBe(`${image}/Dockerfile`)
    for (const id of ['push', 'keep'])
      expect(step(build, id)?.script).toContain(`for component in ${images.join(' ')}; do`)
  })
})
