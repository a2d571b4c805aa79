import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { beforeAll, describe, expect, test } from '@jest/globals'
import { parse as parseHcl } from '@cdktf/hcl2json'
import { at, has, helmTemplate, leaves, readYaml, root } from './repository.ts'
import { faultsOf } from './terraform-rules.ts'
import { type Configuration, parseTerraform, type Sources, terraformSources } from './terraform.ts'

let sources: Sources
let configuration: Configuration

beforeAll(async () => {
  sources = terraformSources()
  configuration = await parseTerraform(sources)
})

/** The faults after a change of the text, which must really change it. */
async function faultsAfter(from: string | RegExp, to: string): Promise<string[]> {
  const changed = Object.fromEntries(Object.entries(sources).map(([name, text]) => [name, text.replace(from, to)]))
  expect(changed).not.toEqual(sources)
  return faultsOf(await parseTerraform(changed))
}

describe('the Terraform configuration', () => {
  test('keeps every rule', () => {
    expect(faultsOf(configuration)).toEqual([])
    expect(configuration.resources.size).toBeGreaterThan(20)
  })

  // The negative control of each rule: a change that somebody could make, and what is reported.
  const changes: [what: string, from: string | RegExp, to: string, fault: string][] = [
    [
      'nodes get public addresses',
      'enable_private_nodes = true',
      'enable_private_nodes = false',
      'google_container_cluster.main: private_cluster_config.enable_private_nodes has to be true',
    ],
    [
      'the cluster may be destroyed',
      'deletion_protection = var.deletion_protection\n\n  network',
      'deletion_protection = false\n\n  network',
      'google_container_cluster.main: deletion_protection has to be ${var.deletion_protection}',
    ],
    [
      'deletion protection is off by default',
      /(variable "deletion_protection" \{[^}]*default\s+= )true/,
      '$1false',
      'variable deletion_protection: has to be true by default',
    ],
    [
      'the database gets a public address',
      'ipv4_enabled    = false',
      'ipv4_enabled    = true',
      'google_sql_database_instance.main: settings.ip_configuration.ipv4_enabled has to be false',
    ],
    [
      'backups are switched off',
      'enabled                        = true',
      'enabled                        = false',
      'google_sql_database_instance.main: settings.backup_configuration.enabled has to be true',
    ],
    [
      'the database takes connections without the proxy',
      '"REQUIRED"',
      '"NOT_REQUIRED"',
      'google_sql_database_instance.main: settings.connector_enforcement has to be REQUIRED',
    ],
    [
      'the control plane is open to everyone',
      'cidr_blocks.value.cidr',
      '"0.0.0.0/0"',
      'google_container_cluster.main: master_authorized_networks_config.0.dynamic.cidr_blocks.0.content.0.cidr_block lets the whole internet in',
    ],
    [
      'a variable opens the control plane to everyone',
      /default = \[\]/,
      'default = [{ name = "all", cidr = "0.0.0.0/0" }]',
      'variable authorized_networks: default.0.cidr lets the whole internet in',
    ],
    [
      'the policy of the project is replaced',
      'resource "google_project_iam_member" "build"',
      'resource "google_project_iam_policy" "build"',
      'google_project_iam_policy.build: takes away what others gave; use …_iam_member',
    ],
    [
      'a component becomes an editor',
      '"roles/cloudsql.client"',
      '"roles/editor"',
      'local.database_roles: roles/editor is far more than is needed',
    ],
    [
      'a login gets a password',
      'type     = "CLOUD_IAM_SERVICE_ACCOUNT"',
      'type     = "CLOUD_IAM_SERVICE_ACCOUNT"\n  password = "x"',
      'google_sql_user.component: logins go by IAM, without a password',
    ],
    [
      'a variable is unused',
      'tier              = var.database_tier',
      'tier              = "db-custom-1-3840"',
      'variable database_tier: is not used',
    ],
    [
      'a variable is not described',
      /description = "Addresses of nodes."\n/,
      '',
      'variable node_cidr: has no description',
    ],
    [
      'a variable accepts anything',
      /(variable "region" \{[\s\S]*?)validation \{[\s\S]*?\n {2}\}\n/,
      '$1',
      'variable region: is not validated',
    ],
    [
      'an output names what does not exist',
      'google_sql_database_instance.main.connection_name\n}',
      'google_sql_database_instance.primary.connection_name\n}',
      'output database_instance: google_sql_database_instance.primary does not exist',
    ],
    [
      'a local does not exist',
      'for_each = local.workload_identities',
      'for_each = local.workload_identity',
      'google_service_account_iam_member.workload_identity: local.workload_identity does not exist',
    ],
    [
      'an output has no description',
      /description = "Points kubectl at the cluster."\n/,
      '',
      'output get_credentials: has no description',
    ],
    [
      'an API is not enabled',
      '"sqladmin.googleapis.com",',
      '',
      'local.services: sqladmin.googleapis.com is not enabled, which google_sql_… needs',
    ],
  ]
  test.each(changes)('is refused when %s', async (_what, from, to, fault) => {
    expect(await faultsAfter(from, to)).toEqual([fault])
  })

  test('accepts machines that the edition of the database offers, and enough connections', () => {
    expect(at(configuration.resources.get('google_sql_database_instance.main'), 'settings', 0, 'edition')).toBe(
      'ENTERPRISE',
    )
    const condition = String(at(configuration.variables.get('database_tier'), 'validation', 0, 'condition'))
    const tier = new RegExp(/regex\("([^"]+)"/.exec(condition)?.[1] ?? '^$')
    expect(['db-custom-1-3840', 'db-custom-16-65536'].every((name) => tier.test(name))).toBe(true)
    // Of ENTERPRISE_PLUS, and with shared cores.
    expect(['db-perf-optimized-N-2', 'db-f1-micro'].some((name) => tier.test(name))).toBe(false)
  })

  test('is refused when it is not HCL', async () => {
    await expect(parseTerraform({ 'broken.tf': 'resource "a" {' })).rejects.toThrow()
  })
})

describe('Terraform and the chart', () => {
  /** The object in `yamlencode(…)`, with expressions as text. */
  async function helmValues(): Promise<unknown> {
    const expression = String(configuration.outputs.get('helm_values')?.['value'])
    const object = /^\$\{yamlencode\(([\s\S]*)\)\}$/.exec(expression)?.[1] ?? ''
    const { locals } = (await parseHcl('values.tf', `locals {\n  values = ${object}\n}`)) as {
      locals: [{ values: unknown }]
    }
    return locals[0].values
  }

  test('agree that each value which an output sets is one of the chart', async () => {
    const values = readYaml('cliscale-chart/values.yaml')
    const set = leaves(await helmValues())
    expect(set).toContain('database.cloudSql.instance')
    expect(set.filter((leaf) => at(values, ...leaf.split('.')) === undefined)).toEqual([])
  })

  test('agree on the service accounts that may act as a Google account', () => {
    const components = configuration.locals.get('components')
    const accounts = ['controller', 'gateway'].map((name) => at(components, name, 'kubernetes_service_accounts'))
    // The chart's templates call them <fullname>-<component>; the fullname of the release `cliscale` is `cliscale`.
    expect(accounts).toEqual([['${var.release}-controller', '${var.release}-migration'], ['${var.release}-gateway']])
    expect(at(configuration.variables.get('release'), 'default')).toBe('cliscale')
    expect(at(configuration.variables.get('namespace'), 'default')).toBe('ws-cli')
  })

  if (has('helm', 'version')) {
    test('agree, with the output rendered, on these service accounts, each with its Google account', async () => {
      const dir = mkdtempSync(path.join(os.tmpdir(), 'cliscale-values-'))
      try {
        const text = JSON.stringify(await helmValues(), (_key, value: unknown) =>
          typeof value === 'string' && value.includes('${') ? sample(value) : value,
        )
        writeFileSync(path.join(dir, 'values.json'), text)
        const accounts = serviceAccounts(path.join(dir, 'values.json'))
        const google = (component: string) => `cliscale-${component}@proj.iam.gserviceaccount.com`
        expect(accounts).toEqual({
          'cliscale-controller': google('controller'),
          'cliscale-migration': google('controller'),
          'cliscale-gateway': google('gateway'),
        })
      } finally {
        rmSync(dir, { recursive: true, force: true })
      }
    })
  } else console.warn('Not run: rendering the chart with Terraform’s values, because helm is not in the PATH.')

  /** What an expression could come to. */
  function sample(expression: string): unknown {
    const component = /service_account_annotations\["(\w+)/.exec(expression)?.[1]
    if (component !== undefined)
      return { 'iam.gke.io/gcp-service-account': `cliscale-${component}@proj.iam.gserviceaccount.com` }
    const login = /google_sql_user\.component\["(\w+)/.exec(expression)?.[1]
    if (login !== undefined) return `cliscale-${login}@proj.iam`
    if (expression.includes('connection_name')) return 'proj:us-central1:cliscale'
    if (expression.includes('prefix_length')) return '10.16.0.0/20'
    return expression.includes('cidr') ? '10.8.0.0/14' : 'cliscale'
  }

  function serviceAccounts(valuesFile: string): Record<string, string> {
    const objects = helmTemplate('-f', 'cliscale-chart/values-staging.yaml', '-f', valuesFile)
    const found = objects.matchAll(/^kind: ServiceAccount\nmetadata:\n {2}name: (\S+)[\s\S]*?(?=^---)/gm)
    return Object.fromEntries(
      [...found].flatMap(([text, name]) => {
        const account = /iam\.gke\.io\/gcp-service-account: (\S+)/.exec(text)?.[1]
        return account === undefined ? [] : [[name, account]]
      }),
    )
  }
})

/** `terraform fmt`, or the formatter of the language itself, which agrees with it and can be built if Go is there. */
const HCLFMT = 'github.com/hashicorp/hcl/v2/cmd/hclfmt@v2.24.0'
const formatter = has('terraform', '-version')
  ? ['terraform', 'fmt', '-check']
  : has('hclfmt', '-version')
    ? ['hclfmt', '-check']
    : has('go', 'version')
      ? ['go', 'run', HCLFMT, '-check']
      : undefined

if (formatter === undefined)
  console.warn('Not run: the formatter of Terraform files, because neither terraform nor hclfmt nor go is in the PATH.')
else
  describe('the format of Terraform files', () => {
    const [program = '', ...args] = formatter
    const check = (...files: string[]) =>
      spawnSync(program, [...args, ...files], { cwd: path.join(root, 'infra'), encoding: 'utf8' }).status

    test('is that of the formatter, which objects to any other', () => {
      expect(check(...Object.keys(sources))).toBe(0)
      const dir = mkdtempSync(path.join(os.tmpdir(), 'cliscale-hcl-'))
      try {
        writeFileSync(path.join(dir, 'bad.tf'), 'locals {\na=1\n}\n')
        expect(check(path.join(dir, 'bad.tf'))).not.toBe(0)
      } finally {
        rmSync(dir, { recursive: true, force: true })
      }
    }, 180_000)
  })
