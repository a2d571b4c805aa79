import { beforeAll, describe, expect, test } from '@jest/globals'
import { parse, parseAllDocuments } from 'yaml'
import { faultsOf, type Known, plainMetric } from './document-rules.ts'
import { commands } from './markdown.ts'
import { at, has, helmTemplate, read, readYaml } from './repository.ts'
import { parseTerraform, terraformSources } from './terraform.ts'

const DOCUMENTS = [
  'docs/deploy.md',
  'docs/upgrades.md',
  'docs/runbook.md',
  'docs/e2e.md',
  'README.md',
  'cliscale-chart/README.md',
]
let known: Known

beforeAll(async () => {
  const { outputs, variables } = await parseTerraform(terraformSources())
  const metrics = new Map(
    [...read('docs/metrics.md').matchAll(/^\| `(cliscale_\w+)`\s+\| \w+\s+\|([^|]*)\|/gm)].map(
      ([, name = '', labels = '']) => [name, labels],
    ),
  )
  const settings = [...read('docs/config.md').matchAll(/^\| `(CLISCALE_\w+)`/gm)].map(([, name = '']) => name)
  const words = ['docs/errors.md', 'docs/metrics.md', 'docs/api/openapi.json']
    .map(read)
    .flatMap((text) => [...text.matchAll(/[`"]([a-z]+(?:_[a-z0-9]+)+)[`"]/g)].map(([, word = '']) => word))
  const tables = [...read('controller/src/db/schema.sql').matchAll(/^create (?:unlogged )?table (\w+)/gm)]
  known = {
    values: readYaml('cliscale-chart/values.yaml'),
    outputs: new Set(outputs.keys()),
    variables: new Set(variables.keys()),
    metrics,
    words: new Set([
      ...words,
      ...tables.map(([, name = '']) => name),
      'internal',
      'cliscale_gateway',
      'cliscale_gateway_login',
    ]),
    settings: new Set([
      ...settings,
      // Of Skaffold, of the migrations, and of a developer's shell.
      'CLISCALE_VALUES_FILE',
      'CLISCALE_GATEWAY_DATABASE_USER',
      'CLISCALE_URL',
    ]),
    ...(has('helm', 'version') ? { objects: renderedObjects() } : {}),
  }
})

/** `kind/name` of everything that the chart makes, however it is installed. */
function renderedObjects(): Set<string> {
  const ways = [
    [
      '-f',
      'cliscale-chart/values-production.yaml',
      '--set',
      'ingress.hostname=a.example.com,database.existingSecret=cliscale-database',
    ],
    ['-f', 'cliscale-chart/values-dev.yaml'],
  ]
  const objects = ways.flatMap((args) =>
    parseAllDocuments(helmTemplate(...args)).map(
      (document) => document.toJS() as { kind: string; metadata: { name: string } } | null,
    ),
  )
  return new Set(
    objects.flatMap((object) => (object === null ? [] : [`${object.kind.toLowerCase()}/${object.metadata.name}`])),
  )
}

describe('documents', () => {
  test.each(DOCUMENTS)('%s names only what exists', (file) => {
    expect(faultsOf(file, read(file), known)).toEqual([])
  })

  const wrong: [what: string, text: string, fault: string][] = [
    ['an unknown value of the chart', 'Set `ingress.hostnam: x`.', 'ingress.hostnam is no value of the chart'],
    ['a value in a block', '```yaml\ningress:\n  host: a\n```', 'ingress.host is no value of the chart'],
    [
      'a value on a command line',
      '```bash\nhelm upgrade a b --set ingress.host=a\n```',
      '--set ingress.host: is no value of the chart',
    ],
    [
      'a block that is not bash',
      '```bash\nif true; then\n```',
      'is no bash: bash: line 2: syntax error: unexpected end of file',
    ],
    ['an output', '`terraform output -raw gret_credentials`', 'Terraform has no output gret_credentials'],
    ['a variable', '`terraform apply -var projekt_id=a`', 'Terraform has no variable projekt_id'],
    ['an npm script', '`npm run migrate:lastest`', 'there is no npm script migrate:lastest'],
    ['a namespace', '`kubectl get pods -n ws-clli`', 'the namespace ws-clli is not ours'],
    ['a metric', '`cliscale_session_open`', 'cliscale_session_open is no metric'],
    ['a reason', '`image_pulled`', 'image_pulled is no code, reason or label'],
    ['a setting', '`CLISCALE_PORTS`', 'CLISCALE_PORTS is no setting'],
    ['a file', '`infra/cluster.tf`', 'infra/cluster.tf does not exist'],
    ['a link', '[a](nowhere.md)', 'leads to docs/nowhere.md, which does not exist'],
    ['a heading', '[a](upgrades.md#nowhere)', 'leads to docs/upgrades.md#nowhere, which does not exist'],
  ]
  test.each(wrong)('wrongly naming %s are found', (_what, text, fault) => {
    expect(faultsOf('docs/any.md', text, known)).toEqual([fault])
  })

  if (has('helm', 'version'))
    test.each([
      'get ingress cliscale-ingres',
      'rollout restart deployment/cliscale-controler',
      'get secret cliscale-apikey',
    ])('that look for an object that nothing creates are found: %s', (words) => {
      const [kind = '', name = ''] = (words.split(' ').at(-1) ?? '').includes('/')
        ? (words.split(' ').at(-1) ?? '').split('/')
        : words.split(' ').slice(-2)
      expect(faultsOf('docs/any.md', `\`kubectl ${words} -n ws-cli\``, known)).toEqual([
        `the chart makes no ${kind}/${name}`,
      ])
    })

  test('state the real size of a session', () => {
    const units = { m: 0.001, Mi: 1, Gi: 1024 }
    const sum = (part: string, name: string) =>
      ['host', 'work']
        .map((half) => String(at(known.values, 'sessions', 'resources', half, part, name)))
        .reduce((total, text) => {
          const [, amount = '', unit = ''] = /^([0-9.]+)(m|Mi|Gi)?$/.exec(text) ?? []
          return total + Number(amount) * (units[unit as keyof typeof units] ?? 1)
        }, 0)
    const requested = `${sum('requests', 'cpu') * 1000}m CPU, ${sum('requests', 'memory')} Mi requested`
    const most = `${sum('limits', 'cpu')} CPU, ${sum('limits', 'memory') / 1024} Gi at most`
    expect(read('docs/deploy.md')).toContain(`| a session              | ${requested}; ${most} `)
  })

  test('contain the well-known commands unchanged', () => {
    const all = new Set(DOCUMENTS.flatMap((file) => commands(read(file)).map((line) => line.replace(/\s+#.*/, ''))))
    const repository = '--default-repo=us-central1-docker.pkg.dev/$PROJECT_ID/apps'
    for (const command of [
      `skaffold run ${repository} --profile=staging`,
      `skaffold dev --port-forward ${repository} --profile=dev`,
      'kubectl get ingress cliscale-ingress -n ws-cli -w',
      "export LB_IP=$(kubectl get ingress cliscale-ingress -n ws-cli -o jsonpath='{.status.loadBalancer.ingress[0].ip}')",
      "export API_KEY=$(kubectl get secret cliscale-api-key -n ws-cli -o jsonpath='{.data.API_KEY}' | base64 -d)",
      'kubectl logs -n ws-cli -l app.kubernetes.io/component=migration --tail=100',
      'npm run migrate:latest',
      'npm run migrate:make create_my_table',
      'npm run migrate:rollback',
    ])
      expect(all).toContain(command)
  })
})

interface Alert {
  readonly alert: string
  readonly expr: string
  readonly labels: { readonly severity: string }
}
const alertsOf = (text: string) =>
  (parse(text) as { groups: { rules: Alert[] }[] }).groups.flatMap(({ rules }) => rules)

/** What a rule asks for that no metric has. */
function faultsOfAlert({ alert, expr, labels }: Alert): string[] {
  const faults = ['page', 'ticket'].includes(labels.severity) ? [] : [`${alert}: severity ${labels.severity}`]
  for (const [, name = '', matchers = ''] of expr.matchAll(/(cliscale_\w+)(?:\{([^}]*)\})?/g)) {
    const has = known.metrics.get(plainMetric(name))
    if (has === undefined) faults.push(`${alert}: ${name} is no metric`)
    for (const [, label = '', values = ''] of matchers.matchAll(/(\w+)[=!]~?"([^"]*)"/g)) {
      if (!(has ?? '').includes(`\`${label}\``)) faults.push(`${alert}: ${name} has no label ${label}`)
      for (const value of values.split('|'))
        if (!(has ?? '').includes(`\`${value}\``) && !known.words.has(value))
          faults.push(`${alert}: ${label} is never ${value}`)
    }
  }
  return faults
}

describe('alerts', () => {
  const alerts = alertsOf(read('docs/alerts.yaml'))

  test('ask for metrics, labels and values that exist', () => {
    expect(alerts.flatMap(faultsOfAlert)).toEqual([])
    expect(alerts.length).toBeGreaterThan(10)
  })

  test('that ask for anything else are found', () => {
    const labels = { severity: 'page' }
    const expr =
      'sum(cliscale_ws_refused{code="x"}) + max(cliscale_sessions_ended_total{state="lost",reason="internel"})'
    expect(faultsOfAlert({ alert: 'A', expr, labels })).toEqual([
      'A: cliscale_ws_refused is no metric',
      'A: cliscale_ws_refused has no label code',
      'A: code is never x',
      'A: cliscale_sessions_ended_total has no label state',
      'A: reason is never internel',
    ])
  })

  test('have one paragraph each in the runbook, and it has no other', () => {
    const paragraphs = [...read('docs/runbook.md').matchAll(/^### (Cliscale\w+)$/gm)].map(([, name]) => name)
    expect(paragraphs).toEqual(alerts.map(({ alert }) => alert))
  })
})
