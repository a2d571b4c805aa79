import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { parse } from 'yaml'
import { CASES, CHART } from './helm.ts'

type Json = unknown
const isMap = (value: Json): value is Record<string, Json> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Paths of all settings; a map that is empty by default is a setting, as are amounts and labels in it. */
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

/** Objects of a schema that take any name although their names are known. */
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

/** Settings that need not be there, so that a null in somebody's values takes them away. */
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
  test('paths are those of settings', () => {
    expect(settingPaths({ a: { b: 1, c: {} }, d: [] })).toEqual(['a.b', 'a.c', 'd'])
    const defs = { $defs: { x: { properties: { y: {} } } } }
    expect(schemaPaths({ properties: { a: { $ref: '#/$defs/x' }, b: {} } }, defs)).toEqual(['a.y', 'b'])
  })

  test('an object that takes any name is found', () => {
    const closed = { properties: { a: {} }, additionalProperties: false, propertyNames: {} }
    expect(openObjects({ properties: { x: closed }, additionalProperties: false, propertyNames: {} })).toEqual([])
    expect(openObjects({ ...closed, properties: { x: { properties: { a: {} } } } })).toEqual(['/properties/x'])
  })
})

describe('values.yaml', () => {
  test('one case sets every setting, to something else wherever nothing stands against it', () => {
    const everything = settingPaths(read(path.join(CASES, 'everything.yaml')))
    const missing = settingPaths(values).filter(
      (one) => !everything.some((path) => path === one || path.startsWith(`${one}.`)),
    )
    expect(missing).toEqual([])
    const defaults = new Map(settingPaths(values).map((one) => [one, at(values, one)]))
    const set = read(path.join(CASES, 'everything.yaml'))
    const same = [...defaults].filter(([one, value]) => JSON.stringify(at(set, one)) === JSON.stringify(value))
    // Each of these is shown by a case of its own, because it excludes something that this one sets.
    expect(same.map(([one]) => one).filter((one) => !one.endsWith('.ephemeral-storage'))).toEqual(SHOWN_ELSEWHERE)
  })

  test('the schema knows every setting, and no other', () => {
    const known = schemaPaths(schema, schema).filter((one) => one !== 'global')
    const covered = (one: string, paths: string[]) =>
      paths.some((other) => one === other || one.startsWith(`${other}.`))
    expect(settingPaths(values).filter((one) => !covered(one, known))).toEqual([])
    const there = settingPaths(values)
    expect(known.filter((one) => !there.some((other) => other === one || other.startsWith(`${one}.`)))).toEqual([])
  })

  test('no object of the schema takes names that it does not know', () => {
    expect(openObjects(schema)).toEqual([])
  })

  test('every setting has to be there but those that are nothing by default', () => {
    expect(optionalSettings(schema)).toEqual(['global', 'trustedProxyHops'])
    expect(optionalSettings({ properties: { a: {}, b: { properties: { c: {} } } }, required: ['a'] })).toEqual([
      'b',
      'c',
    ])
  })

  test('every setting at the top is explained, by a comment before it or before the first in it', () => {
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
