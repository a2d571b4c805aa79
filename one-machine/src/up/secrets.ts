import { randomBytes } from 'node:crypto'
import { chmod, link, readFile, rm, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { CONTROLLER_ENV, generateSigningKey } from '@cliscale/controller'
import type { z } from 'zod'
import type { Paths } from './data-dir.ts'
import { UserError } from './user-error.ts'

export interface Secrets {
  readonly apiKey: string
  readonly dataKey: string
  readonly signingKey: string
  readonly superuserPassword: string
  readonly controllerPassword: string
  readonly gatewayPassword: string
}

/**
 * Reads the secrets of a data folder; those that are missing are made once. Files are 0600.
 *
 * @throws UserError that names the file, for one that cannot be used.
 */
export async function openSecrets(paths: Paths): Promise<Secrets> {
  const password = (): string => randomBytes(24).toString('base64url')
  const at = (name: string): string => path.join(paths.secrets, name)
  const apiKey = (): string => `cs_key_${randomBytes(32).toString('base64url')}`
  const dataKey = (): string => randomBytes(32).toString('base64')
  const { CLISCALE_API_KEY, CLISCALE_DATA_KEY, CLISCALE_SIGNING_KEY } = CONTROLLER_ENV
  return {
    apiKey: await ensureSecret(paths.apiKey, apiKey, CLISCALE_API_KEY),
    dataKey: await ensureSecret(at('data-key'), dataKey, CLISCALE_DATA_KEY),
    signingKey: await ensureSecret(at('signing-key.pem'), generateSigningKey, CLISCALE_SIGNING_KEY),
    superuserPassword: await ensureSecret(at('postgres-superuser'), password),
    controllerPassword: await ensureSecret(at('postgres-controller'), password),
    gatewayPassword: await ensureSecret(at('postgres-gateway'), password),
  }
}

async function ensureSecret(file: string, make: () => string | Promise<string>, schema?: z.ZodType): Promise<string> {
  const found = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw new UserError(`${file} cannot be read: ${error.message}`)
  })
  if (found !== undefined) {
    const fault = found.trim() === '' ? 'is empty' : schema?.safeParse(found.trim()).error?.issues[0]?.message
    if (fault !== undefined) throw new UserError(`${file} ${fault}. Restore it, or remove it to have a new one made.`)
    if (((await stat(file)).mode & 0o077) !== 0) await chmod(file, 0o600)
    return found.trim()
  }
  const text = await make()
  const draft = `${file}.${process.pid}.draft`
  await writeFile(draft, `${text.trim()}\n`, { mode: 0o600 })
  // A link never replaces a file that appeared meanwhile.
  await link(draft, file)
  await rm(draft)
  return text.trim()
}
