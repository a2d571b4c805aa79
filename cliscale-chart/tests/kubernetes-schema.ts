/** JSON schemas for kubeconform, made from the OpenAPI document of a Kubernetes release. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { gunzipSync } from 'node:zlib'

type Schema = Record<string, unknown>
interface Kind {
  group: string
  kind: string
  version: string
}

/** Kinds that are no part of Kubernetes: what we use of them, and no field more. */
const text = { type: 'string' }
const object = (properties: Schema, required: string[] = Object.keys(properties)): Schema => ({
  type: 'object',
  additionalProperties: false,
  required,
  properties,
})
const metadata = { type: 'object' }
const foreign = (apiVersion: string, kind: string, spec: Schema): [string, string, Schema] => [
  apiVersion,
  kind,
  object({ apiVersion: { const: apiVersion }, kind: { const: kind }, metadata, spec }),
]
const matchLabels = object({ matchLabels: { type: 'object', additionalProperties: text } })
const seconds = (maximum: number) => ({ type: 'integer', minimum: 1, maximum })

const FOREIGN_KINDS = [
  foreign(
    'cloud.google.com/v1',
    'BackendConfig',
    object(
      {
        timeoutSec: seconds(86_400),
        connectionDraining: object({ drainingTimeoutSec: seconds(3_600) }),
        healthCheck: object({
          type: { enum: ['HTTP', 'HTTPS', 'HTTP2'] },
          requestPath: text,
          port: seconds(65_535),
          checkIntervalSec: seconds(300),
          timeoutSec: seconds(300),
          healthyThreshold: seconds(10),
          unhealthyThreshold: seconds(10),
        }),
        securityPolicy: object({ name: text }),
      },
      ['timeoutSec'],
    ),
  ),
  foreign(
    'networking.gke.io/v1beta1',
    'FrontendConfig',
    object({ redirectToHttps: object({ enabled: { type: 'boolean' } }) }),
  ),
  foreign('networking.gke.io/v1', 'ManagedCertificate', object({ domains: { type: 'array', items: text } })),
  ...['monitoring.googleapis.com/v1 PodMonitoring', 'monitoring.coreos.com/v1 ServiceMonitor'].map((name) => {
    const [apiVersion, kind] = name.split(' ') as [string, string]
    const endpoint = object({ port: text, interval: { type: 'string', pattern: '^\\d+[smh]$' } })
    return foreign(apiVersion, kind, object({ selector: matchLabels, endpoints: { type: 'array', items: endpoint } }))
  }),
]

/**
 * Writes `<kind>-<group>-<version>.json` into `folder` for every kind of the document (gzipped swagger) and for those of
 * others that the chart knows. Fields that a schema does not name are refused.
 */
export function writeSchemas(swaggerFile: string, folder: string): void {
  const { definitions } = JSON.parse(gunzipSync(readFileSync(swaggerFile)).toString()) as {
    definitions: Record<string, Schema>
  }
  mkdirSync(folder, { recursive: true })
  for (const [name, definition] of Object.entries(definitions)) {
    const kinds = (definition['x-kubernetes-group-version-kind'] ?? []) as Kind[]
    if (kinds.length !== 1 || definition['properties'] === undefined) continue
    const [{ group, kind, version }] = kinds as [Kind]
    const used = reachable(name, definitions)
    const schema = {
      ...(strict(definitions[name]!) as Schema),
      required: ['apiVersion', 'kind'],
      definitions: Object.fromEntries(
        [...used].map((one) => [one, one.endsWith('.Quantity') ? NUMBER_OR_TEXT : strict(definitions[one]!)]),
      ),
    }
    write(folder, `${group === '' ? '' : `${group}/`}${version}`, kind, schema)
  }
  for (const [apiVersion, kind, schema] of FOREIGN_KINDS) write(folder, apiVersion, kind, schema)
}

/** As kubeconform's own template names it: the group's first part, and the version. */
function write(folder: string, apiVersion: string, kind: string, schema: Schema): void {
  const [group, version] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion]
  const suffix = [group!.split('.')[0], version].filter(Boolean).join('-')
  writeFileSync(path.join(folder, `${kind.toLowerCase()}-${suffix}.json`), JSON.stringify(schema))
}

/** Names of all definitions that one refers to, directly or not. */
function reachable(start: string, definitions: Record<string, Schema>): Set<string> {
  const found = new Set<string>()
  const queue = [start]
  while (queue.length > 0) {
    const text = JSON.stringify(definitions[queue.pop()!])
    for (const [, name] of text.matchAll(/"#\/definitions\/([^"]+)"/g)) {
      if (found.has(name!)) continue
      found.add(name!)
      queue.push(name!)
    }
  }
  return found
}

const NUMBER_OR_TEXT = { type: ['string', 'number'] }

/** OpenAPI 2 as JSON schema: an amount or a port may be a number or text, and unknown fields are refused. */
function strict(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(strict)
  if (typeof schema !== 'object' || schema === null) return schema
  const { format, ...rest } = schema as Schema
  if (format === 'int-or-string') return NUMBER_OR_TEXT
  const result = Object.fromEntries(
    Object.entries(rest)
      .filter(([key]) => !key.startsWith('x-kubernetes') && key !== 'description')
      .map(([key, value]) => [key, key === 'properties' ? eachValue(value as Schema) : strict(value)]),
  )
  if (result['properties'] !== undefined && result['additionalProperties'] === undefined)
    result['additionalProperties'] = false
  return result
}

function eachValue(properties: Schema): Schema {
  return Object.fromEntries(Object.entries(properties).map(([key, value]) => [key, strict(value)]))
}
