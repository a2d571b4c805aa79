import { at } from './repository.ts'
import { type Block, type Configuration, texts } from './terraform.ts'

type Rule = (configuration: Configuration) => string[]

/** The faults of a configuration, as sentences; none when it keeps every rule. */
export function faultsOf(configuration: Configuration): string[] {
  return RULES.flatMap((rule) => rule(configuration))
}

/** Values that a path of a resource must have. */
const MUST: readonly [resource: string, path: (string | number)[], value: unknown][] = [
  ['google_container_cluster.main', ['enable_autopilot'], true],
  ['google_container_cluster.main', ['deletion_protection'], '${var.deletion_protection}'],
  ['google_container_cluster.main', ['private_cluster_config', 0, 'enable_private_nodes'], true],
  [
    'google_container_cluster.main',
    ['private_cluster_config', 0, 'enable_private_endpoint'],
    '${length(var.authorized_networks) == 0}',
  ],
  ['google_container_cluster.main', ['release_channel', 0, 'channel'], 'REGULAR'],
  ['google_container_cluster.main', ['master_authorized_networks_config', 0, 'gcp_public_cidrs_access_enabled'], false],
  [
    'google_container_cluster.main',
    ['cluster_autoscaling', 0, 'auto_provisioning_defaults', 0, 'service_account'],
    '${google_service_account.nodes.email}',
  ],
  ['google_sql_database_instance.main', ['deletion_protection'], '${var.deletion_protection}'],
  ['google_sql_database_instance.main', ['settings', 0, 'deletion_protection_enabled'], '${var.deletion_protection}'],
  ['google_sql_database_instance.main', ['settings', 0, 'ip_configuration', 0, 'ipv4_enabled'], false],
  ['google_sql_database_instance.main', ['settings', 0, 'connector_enforcement'], 'REQUIRED'],
  ['google_sql_database_instance.main', ['settings', 0, 'backup_configuration', 0, 'enabled'], true],
  [
    'google_sql_database_instance.main',
    ['settings', 0, 'backup_configuration', 0, 'point_in_time_recovery_enabled'],
    true,
  ],
  ['google_sql_user.component', ['type'], 'CLOUD_IAM_SERVICE_ACCOUNT'],
  ['google_compute_subnetwork.nodes', ['private_ip_google_access'], true],
  ['google_artifact_registry_repository.apps', ['cleanup_policy_dry_run'], '${var.registry_cleanup_dry_run}'],
]

const RULES: readonly Rule[] = [
  ({ resources }) =>
    MUST.filter(([name, path, value]) => at(resources.get(name), ...path) !== value).map(
      ([name, path, value]) => `${name}: ${path.filter((key) => key !== 0).join('.')} has to be ${String(value)}`,
    ),

  ({ variables }) =>
    at(variables.get('deletion_protection'), 'default') === true
      ? []
      : ['variable deletion_protection: has to be true by default'],

  (configuration) =>
    everything(configuration).flatMap(([name, block]) =>
      texts(block)
        .filter(([, text]) => /(?<![\d.])0\.0\.0\.0\/0|(?<![\w:])::\/0/.test(text))
        .map(([path]) => `${name}: ${path} lets the whole internet in`),
    ),

  ({ resources }) =>
    [...resources]
      .filter(([name]) => /_iam_(policy|binding)\./.test(name))
      .map(([name]) => `${name}: takes away what others gave; use …_iam_member`),

  ({ resources, locals }) =>
    [...resources, ...[...locals].map(([name, value]): [string, Block] => [`local.${name}`, { value }])].flatMap(
      ([name, block]) =>
        texts(block)
          .flatMap(([, text]) => text.match(/roles\/(owner|editor|viewer|iam\.serviceAccountTokenCreator)\b/g) ?? [])
          .map((role) => `${name}: ${role} is far more than is needed`),
    ),

  ({ resources }) =>
    [...resources]
      .filter(([name, block]) => name.startsWith('google_sql_user.') && ('password' in block || 'password_wo' in block))
      .map(([name]) => `${name}: logins go by IAM, without a password`),

  ({ variables, text }) =>
    [...variables].flatMap(([name, block]) => [
      ...(typeof block['description'] === 'string' ? [] : [`variable ${name}: has no description`]),
      ...(block['type'] === undefined ? [`variable ${name}: has no type`] : []),
      ...(block['type'] === '${bool}' || block['validation'] !== undefined
        ? []
        : [`variable ${name}: is not validated`]),
      // Once is its own validation, or no use at all.
      ...(used(text, name) ? [] : [`variable ${name}: is not used`]),
    ]),

  (configuration) => [
    ...new Set(everything(configuration).flatMap(([name, block]) => danglingIn(configuration, name, block))),
  ],

  ({ outputs }) =>
    [...outputs].flatMap(([name, block]) => [
      ...(typeof block['description'] === 'string' ? [] : [`output ${name}: has no description`]),
      ...('value' in block ? [] : [`output ${name}: has no value`]),
    ]),

  ({ resources, locals }) => {
    const services = texts(locals.get('services')).join(' ')
    return Object.entries(SERVICES)
      .filter(([prefix]) => [...resources.keys()].some((name) => name.startsWith(prefix)))
      .filter(([, service]) => !services.includes(service))
      .map(([prefix, service]) => `local.services: ${service} is not enabled, which ${prefix}… needs`)
  },
]

/** The API that must be enabled for resources of a kind. */
const SERVICES: Readonly<Record<string, string>> = {
  google_artifact_registry_: 'artifactregistry.googleapis.com',
  google_compute_: 'compute.googleapis.com',
  google_container_: 'container.googleapis.com',
  google_service_account: 'iam.googleapis.com',
  google_service_networking_: 'servicenetworking.googleapis.com',
  google_sql_: 'sqladmin.googleapis.com',
}

function everything({ resources, data, variables, outputs, locals }: Configuration): [string, Block][] {
  return [
    ...resources,
    ...data,
    ...[...variables].map(([name, block]): [string, Block] => [`variable ${name}`, block]),
    ...[...outputs].map(([name, block]): [string, Block] => [`output ${name}`, block]),
    ...[...locals].map(([name, value]): [string, Block] => [`local.${name}`, { value }]),
  ]
}

/** Whether a variable is read outside of its own block. */
function used(text: string, name: string): boolean {
  const outside = text.replace(new RegExp(`^variable "${name}" \\{[\\s\\S]*?^\\}`, 'm'), '')
  return new RegExp(`var\\.${name}\\b`).test(outside)
}

/** References to what does not exist. */
function danglingIn(configuration: Configuration, name: string, block: Block): string[] {
  const { resources, data, variables, locals } = configuration
  return texts(block).flatMap(([, text]) =>
    expressions(text)
      .filter((reference) => {
        const [kind = '', first = '', second = ''] = reference.split('.')
        if (kind === 'var') return !variables.has(first)
        if (kind === 'local') return !locals.has(first)
        if (kind === 'data') return !data.has(`data.${first}.${second}`)
        return !resources.has(`${kind}.${first}`)
      })
      .map((reference) => `${name}: ${reference} does not exist`),
  )
}

function expressions(text: string): string[] {
  const inside = text.match(/\$\{[\s\S]*\}/g) ?? []
  return inside.flatMap((expression) => {
    const plain = expression.replace(/^\s*#.*$/gm, '')
    return plain.match(/(?<![\w."/-])(var\.\w+|local\.\w+|data\.google_\w+\.\w+|google_\w+\.\w+)/g) ?? []
  })
}
