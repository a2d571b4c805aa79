import { readFileSync } from 'node:fs'
import { z } from 'zod'

/** Exit code for a configuration that cannot be used (sysexits.h EX_CONFIG). */
export const EXIT_CONFIG = 78

/** All faults of a configuration, one sentence each. Values of secrets are never in it. */
export class ConfigError extends Error {
  readonly faults: readonly string[]
  constructor(faults: readonly string[]) {
    super(`The configuration cannot be used:\n${faults.map((f) => `  - ${f}`).join('\n')}`)
    this.name = 'ConfigError'
    this.faults = faults
  }
}

/** Names that Kubernetes makes from Services, and what a session is given: known to nobody, but no mistake. */
const FOREIGN = /_SERVICE_HOST$|_SERVICE_PORT(_|$)|^CLISCALE_(PROMPT|SESSION_ID)$/
function isForeign(name: string, value: string): boolean {
  return FOREIGN.test(name) || (/_PORT($|_)/.test(name) && value.startsWith('tcp://'))
}

/**
 * Reads `CLISCALE_*` names of the environment by a schema whose keys are those names. A key marked
 * `.meta({ secret: true })` is also read from the file that `NAME_FILE` names. An empty value counts as absent.
 *
 * @throws ConfigError with every fault at once: bad values, unreadable files, and names that no schema knows.
 */
export function parseEnv<T extends z.ZodObject>(schema: T, env: NodeJS.ProcessEnv): z.infer<T> {
  const faults: string[] = []
  const raw: Record<string, string> = {}
  for (const name of Object.keys(schema.shape)) {
    const value = isSecret(schema, name) ? secretValue(name, env, faults) : env[name]
    if (value !== undefined && value !== '') raw[name] = value
  }
  const names = Object.entries(env).filter(([name, value]) => name.startsWith('CLISCALE_') && value !== undefined)
  for (const [name, value = ''] of names)
    if (!isKnown(schema, name) && !isForeign(name, value))
      faults.push(`${name} is not a setting; remove it or correct its name`)
  const result = schema.safeParse(raw)
  if (!result.success) faults.push(...result.error.issues.map((issue) => sentence(issue, raw)))
  if (faults.length > 0 || !result.success) throw new ConfigError(faults)
  return result.data
}

function sentence(issue: z.core.$ZodIssue, raw: Record<string, string>): string {
  const name = issue.path.join('.')
  return name in raw ? `${name} ${issue.message}` : `${name} is required`
}

/** Whether a schema has a setting of this name; the one that names a secret's file counts as well. */
function isKnown(schema: z.ZodObject, name: string): boolean {
  if (Object.hasOwn(schema.shape, name)) return true
  const plain = name.endsWith('_FILE') ? name.slice(0, -5) : name
  return Object.hasOwn(schema.shape, plain) && isSecret(schema, plain)
}

/** Looks through optional, default and the like: each makes a new schema without the mark of the one inside. */
function isSecret(schema: z.ZodObject, name: string): boolean {
  let field = schema.shape[name] as z.ZodType | undefined
  while (field !== undefined) {
    if ((field.meta() as { secret?: boolean } | undefined)?.secret === true) return true
    const inside = field.def as { innerType?: z.ZodType; in?: z.ZodType }
    field = inside.innerType ?? inside.in
  }
  return false
}

function secretValue(name: string, env: NodeJS.ProcessEnv, faults: string[]): string | undefined {
  const file = env[`${name}_FILE`]
  if (file === undefined || file === '') return env[name]
  if (env[name]) {
    faults.push(`${name} and ${name}_FILE are both set; keep one`)
    return undefined
  }
  try {
    return readFileSync(file, 'utf8').replace(/\r?\n$/, '')
  } catch (error) {
    faults.push(`${name}_FILE cannot be read (${(error as NodeJS.ErrnoException).code ?? 'error'})`)
    return undefined
  }
}

/** What a start-up log may show of a configuration: secrets as `set`. Derived from the schema's marks. */
export function describeEnv<T extends z.ZodObject>(schema: T, values: z.infer<T>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(values as Record<string, unknown>)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [name, isSecret(schema, name) ? 'set' : value]),
  )
}

/** A whole number between `min` and `max`. */
export function wholeNumber(min: number, max: number) {
  const error = `must be a whole number from ${min} to ${max}`
  return z
    .string()
    .regex(/^-?\d{1,15}$/, { error })
    .transform(Number)
    .refine((n) => n >= min && n <= max, { error })
}

/** A list separated by commas; blanks are dropped. */
export function commaList() {
  return z.string().transform((s) =>
    s
      .split(',')
      .map((x) => x.trim())
      .filter((x) => x !== ''),
  )
}

/** `true` or `false`. */
export function trueOrFalse() {
  return z.enum(['true', 'false'], { error: 'must be true or false' }).transform((s) => s === 'true')
}

/** A secret: also read from NAME_FILE, shown nowhere. */
export function secret() {
  return z.string().meta({ secret: true })
}
