import { AppError, type ErrorCode, type FieldError } from '@cliscale/contract'
import { editDistance } from '@cliscale/service-kit'
import type { z } from 'zod'

/** What is wrong in one place of a request. */
export interface Fault extends FieldError {
  readonly code: ErrorCode
}

/** One error of all faults: its code is that of the first. @throws AppError; TypeError when there is none. */
export function throwFaults(faults: readonly Fault[]): never {
  const first = faults[0]
  if (first === undefined) throw new TypeError('no fault to throw')
  const sentence = `${first.path} ${first.message}`.trim()
  const rest = faults.length - 1
  const more = rest === 0 ? '' : ` There ${rest === 1 ? 'is 1 more fault' : `are ${rest} more faults`}: see "errors".`
  throw new AppError(first.code, {
    detail: `${sentence}${/[.?!]$/.test(sentence) ? '' : '.'}${more}`,
    errors: faults.map(({ path, message }) => ({ path, message })),
  })
}

/** How many faults are named; the rest would say nothing new. */
export const MAX_FAULTS = 20

/** The faults that a schema found: fields that it does not know come first. Values are not in them, only their types. */
export function schemaFaults(issues: readonly z.core.$ZodIssue[], body: unknown, fields: readonly string[]): Fault[] {
  const unknown = issues.flatMap((issue) => (issue.code === 'unrecognized_keys' ? issue.keys : []))
  const others = issues.filter((issue) => issue.code !== 'unrecognized_keys' && !isSafeRange(issue))
  return [...unknown.map((name) => unknownField(name, fields)), ...others.map((issue) => valueFault(issue, body))]
}

/** zod's `int` names its own limit of 2^53 - 1 beside the field's. */
function isSafeRange(issue: z.core.$ZodIssue): boolean {
  return (
    (issue.code === 'too_big' && issue.maximum === Number.MAX_SAFE_INTEGER) ||
    (issue.code === 'too_small' && issue.minimum === Number.MIN_SAFE_INTEGER)
  )
}

function unknownField(name: string, fields: readonly string[]): Fault {
  const near = nearest(name, fields)
  const hint = near === undefined ? `Known fields: ${fields.join(', ')}.` : `Did you mean ${near}?`
  return { code: 'unknown_field', path: shown(name), message: `is not a known field. ${hint}` }
}

function valueFault(issue: z.core.$ZodIssue, body: unknown): Fault {
  const path = issue.path.map((part) => shown(String(part))).join('.')
  const found = issue.path.reduce<unknown>((value, part) => (value as Record<PropertyKey, unknown>)?.[part], body)
  return { code: 'invalid_field', path, message: messageOf(issue, found) }
}

function messageOf(issue: z.core.$ZodIssue, found: unknown): string {
  switch (issue.code) {
    case 'invalid_type':
      if (found === undefined) return 'is required'
      return `must be ${EXPECTED[issue.expected] ?? issue.expected}, got ${typeName(found)}`
    case 'too_small':
    case 'too_big':
      return `must be ${issue.code === 'too_big' ? 'at most' : 'at least'} ${
        issue.code === 'too_big' ? issue.maximum : issue.minimum
      }, got ${typeof found === 'number' ? found : typeName(found)}`
    case 'invalid_value':
      return `must be one of ${issue.values.map((value) => JSON.stringify(value)).join(', ')}${
        typeof found === 'string' ? '' : `, got ${typeName(found)}`
      }`
    default:
      // Our own words in the schema; a string that does not fit is told by its length, never by what it holds.
      return issue.code === 'invalid_format' && typeof found === 'string'
        ? `${issue.message}, got ${found.length} characters`
        : issue.message
  }
}

const EXPECTED: Record<string, string> = {
  string: 'a string',
  number: 'a whole number',
  int: 'a whole number',
  record: 'an object of strings',
  object: 'an object',
}

function typeName(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'number') return Number.isInteger(value) ? 'a number' : 'a number with a fraction'
  return { string: 'a string', boolean: 'a boolean', object: 'an object' }[typeof value as string] ?? typeof value
}

/** A name of the caller's as it may be shown: no control characters, not what stands behind a `=`, not long. */
export function shown(name: string): string {
  const cut = name.split('=', 1)[0]!.replaceAll(/[^\x20-\x7e]/g, '?')
  const short = cut.length > 64 ? `${cut.slice(0, 64)}…` : cut
  return cut.length < name.length && name.includes('=') ? `${short}=…` : short
}

/** The known name that a typing error would turn into this one; undefined when none is near. */
function nearest(name: string, known: readonly string[]): string | undefined {
  if (name.length > 64) return undefined
  const plain = name.toLowerCase().replaceAll(/[-_ ]/g, '')
  const best = known
    .map((candidate) => ({ candidate, distance: editDistance(plain, candidate.replaceAll('_', '')) }))
    .sort((a, b) => a.distance - b.distance)[0]
  return best !== undefined && best.distance <= Math.min(2, plain.length - 1) ? best.candidate : undefined
}
