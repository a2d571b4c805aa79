import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { parse } from 'yaml'
import { CASES, CHART } from './helm.ts'

type Json = unknown
const isMap = (value: Json): value is Record<string, Json> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Paths of all settings; a map that is empty by default is a setting, as are quantities and labels in it. */
function settingPaths(value: Json, at = ''): string[] {
  if (!isMap(value) || Object.keys(value).length === 0) return [at]
  return Object.entries(value).flatMap(([key, inside]) => settingPaths(inside, at ? `${at}.${key}` : key))
}

/** What a schema knows, as paths; a map with free names ends the path. */
function schemaPaths(schema: Record<string, Json>, root: Record<string, Json>, at = ''): string[] {
  const ref = schema['$ref'] as string | undefined
  if (ref !== undefined) {
    const name = ref.replace('#/$defs/', '')
    return schemaPaths((root['$defs'] as Record<string, Record<string, Json>>)[name]!, root, at)
  }
  const properties = schema['properties'] as Record<string, Record<string, Json>> | undefined
  if (properties === undefined) return [at]
  return Object.entries(properties).flatMap(([key, inside]) => schemaPaths(inside, root, at ? `${at}.${key}` : key))
}

/** Objects of a schema that accept any name although their names are known. */
function openObjects(schema: Json, at = ''): string[] {
  if (!isMap(schema)) return []
  const isOpen =
    isMap(schema['properties']) && (schema['additionalProperties'] !== false || !isMap(schema['propertyNames']))
  return [
    ...(isOpen && !at.endsWith('properties') ? [at] : []),
    ...Object.entries(schema)
      // Conditions on an object that is closed where it stands.
      .filter(([key]) => !/^(if|then|else|dependentSchemas)$/.test(key))
      .flatMap(([key, inside]) => openObjects(inside, `${at}/${key}`)),
  ]
}

/** Settings that may be missing, so that a null in somebody's values removes them. */
function optionalSettings(schema: Json): string[] {
  if (!isMap(schema)) return []
  const required = schema['required'] as string[] | undefined
  const names = isMap(schema['properties']) ? Object.keys(schema['properties']) : []
  return [
    ...names.filter((name) => !required?.includes(name)),
    // Entries of lists are whole in the values that give them.
    ...Object.entries(schema).flatMap(([key, inside]) => (key === 'items' ? [] : optionalSettings(inside))),
  ]
}

const read = (file: string) => parse(readFileSync(file, 'utf8')) as Record<string, Json>
const values = read(path.join(CHART, 'values.yaml'))
const schema = JSON.parse(readFileSync(path.join(CHART, 'values.schema.json'), 'utf8')) as Record<string, Json>

describe('the checkers of values', () => {
  test('list the paths of settings', () => {
    expect(settingPaths({ a: { b: 1, c: {} }, d: [] })).toEqual(['a.b', 'a.c', 'd'])
    const defs = { $defs: { x: { properties: { y: {} } } } }
    expect(schemaPaths({ properties: { a: { $ref: '#/$defs/x' }, b: {} } }, defs)).toEqual(['a.y', 'b'])
  })

  test('find an object that accepts any name', () => {
    const closed = { properties: { a: {} }, additionalProperties: false, propertyNames: {} }
    expect(openObjects({ properties: { x: closed }, additionalProperties: false, propertyNames: {} })).toEqual([])
    expect(openObjects({ ...closed, properties: { x: { properties: { a: {} } } } })).toEqual(['/properties/x'])
  })
})

describe('values.yaml', () => {
  test('has a case that sets every setting to another value, unless something excludes that', () => {
    const everything = settingPaths(read(path.join(CASES, 'everything.yaml')))
    const missing = settingPaths(values).filter(
      (one) => !everything.some((path) => path === one || path.startsWith(`${one}.`)),
    )
    expect(missing).toEqual([])
    const defaults = new Map(settingPaths(values).map((one) => [one, at(values, one)]))
    const set = read(path.join(CASES, 'everything.yaml'))
    const same = [...defaults].filter(([one, value]) => JSON.stringify(at(set, one)) === JSON.stringify(value))
    // A case of its own shows each of these, because it excludes something that this case sets.
    expect(same.map(([one]) => one).filter((one) => !one.endsWith('.ephemeral-storage'))).toEqual(SHOWN_ELSEWHERE)
  })

  test('has in its schema every setting, and no other', () => {
    const known = schemaPaths(schema, schema).filter((one) => one !== 'global')
    const covered = (one: string, paths: string[]) =>
      paths.some((other) => one === other || one.startsWith(`${other}.`))
    expect(settingPaths(values).filter((one) => !covered(one, known))).toEqual([])
    const there = settingPaths(values)
    expect(known.filter((one) => !there.some((other) => other === one || other.startsWith(`${one}.`)))).toEqual([])
  })

  test('has no object in its schema that accepts unknown names', () => {
    expect(openObjects(schema)).toEqual([])
  })

  test('requires every setting, except those that are empty by default', () => {
    expect(optionalSettings(schema)).toEqual(['global', 'trustedProxyHops'])
    expect(optionalSettings({ properties: { a: {}, b: { properties: { c: {} } } }, required: ['a'] })).toEqual([
      'b',
      'c',
    ])
  })

  test('explains every top-level setting in a comment before it or before the first in it', () => {
    const lines = readFileSync(path.join(CHART, 'values.yaml'), 'utf8').split('\n')
    const isComment = (index: number) => /^\s*#/.test(lines[index] ?? '')
    const silent = lines.filter(
      (line, index) => /^[a-zA-Z]+:/.test(line) && !isComment(index - 1) && !isComment(index + 1),
    )
    expect(silent).toEqual([])
  })
})

const SHOWN_ELSEWHERE = [
  'sessions.createNamespace',
  'database.cloudSql.instance',
  'postgresql.enabled',
  'apiKey.existingSecret',
  'dataKey.existingSecret',
  'signingKey.pem',
  'ingress.enabled',
  'ingress.className',
  'ingress.tls.existingSecret',
  'ingress.tls.certManagerClusterIssuer',
  'networkPolicy.enabled',
]

function at(value: Json, dotted: string): Json {
  return dotted.split('.').reduce<Json>((inside, key) => (isMap(inside) ? inside[key] : undefined), value)
}
