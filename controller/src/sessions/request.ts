import {
  AppError,
  CreateSessionRequest,
  CreateTokenRequest,
  type FetchPolicy,
  isAppError,
  LIMITS,
  refusedEnvName,
  utf8Length,
  type WorkOrder,
} from '@cliscale/contract'
import { checksumOf, type CodeUrl, parseCodeUrl } from '@cliscale/contract/code-url'
import { imageFaults, type ImageKind, type ImageKinds, kindOf } from './images.ts'
import { type Fault, MAX_FAULTS, schemaFaults, shown, throwFaults } from './faults.ts'

export interface RequestPolicy {
  readonly fetchPolicy: FetchPolicy
  readonly requireChecksum: boolean
  readonly images: ImageKinds
}

/** A request to create a session that can be accepted. */
export interface NewSession {
  /** As it came: equal requests have equal ones. */
  readonly request: CreateSessionRequest
  /** null: there is nothing to order, the image runs what it runs. */
  readonly order: WorkOrder | null
  readonly kind: ImageKind
  /** The name of an image of the operator's list; null: the runner's own. */
  readonly image: string | null
  /** The code_url as it may be shown: without its query. */
  readonly shownCodeUrl: string | null
  /** The folder of this machine that code_url names; null when it names something else. */
  readonly codeFolder: string | null
  readonly timeoutSeconds: number
}

/**
 * Reads the body of `POST /api/sessions`.
 *
 * @throws AppError of the first fault, with all of them in `errors`; values of the caller's are in none.
 */
export function parseNewSession(body: unknown, policy: RequestPolicy): NewSession {
  requireObject(body)
  const fields = Object.keys(CreateSessionRequest.shape)
  const parsed = CreateSessionRequest.safeParse(body)
  const faults = schemaFaults(parsed.error?.issues ?? [], body, fields).map(asEnvFault(body))
  const kind = kindOf(body, policy.images)
  if (kind === 'runner' && body['command'] === undefined) faults.splice(unknownCount(faults), 0, COMMAND_REQUIRED)
  const codeUrl = kind === 'ttyd' ? undefined : readCodeUrl(body, policy, faults)
  if (kind !== 'ttyd') faults.push(...envFaults(body['env']))
  faults.push(...imageFaults(body, policy.images))
  if (!parsed.success || faults.length > 0) throwFaults(faults.slice(0, MAX_FAULTS))
  const request = parsed.data
  return {
    request,
    order: kind === 'ttyd' ? null : orderOf(request),
    kind: kind ?? 'runner',
    image: request.image ?? null,
    ...codeOf(codeUrl),
    timeoutSeconds: request.timeout_seconds ?? LIMITS.timeoutSeconds.default,
  }
}

function codeOf(codeUrl: CodeUrl | undefined): Pick<NewSession, 'shownCodeUrl' | 'codeFolder'> {
  return {
    shownCodeUrl: codeUrl?.display ?? null,
    codeFolder: codeUrl?.kind === 'folder' ? codeUrl.path : null,
  }
}

const COMMAND_REQUIRED: Fault = { code: 'invalid_field', path: 'command', message: 'is required' }

function unknownCount(faults: readonly Fault[]): number {
  return faults.filter((fault) => fault.code === 'unknown_field').length
}

function orderOf(request: CreateSessionRequest): WorkOrder {
  return {
    command: request.command ?? '',
    codeUrl: request.code_url?.trim() ?? null,
    checksumSha256: request.code_checksum_sha256?.toLowerCase() ?? null,
    prompt: request.prompt ?? null,
    installCmd: request.install_cmd ?? null,
    env: request.env ?? {},
    ...(request.columns !== undefined && { columns: request.columns }),
    ...(request.rows !== undefined && { rows: request.rows }),
  }
}

/** Reads the body of `POST /api/sessions/{id}/token`; no body asks for the defaults. @throws AppError */
export function parseNewToken(body: unknown): CreateTokenRequest {
  if (body === undefined) return CreateTokenRequest.parse({})
  requireObject(body)
  const parsed = CreateTokenRequest.safeParse(body)
  if (!parsed.success) throwFaults(schemaFaults(parsed.error.issues, body, Object.keys(CreateTokenRequest.shape)))
  return parsed.data
}

/** A terminal of its own takes what is typed into it from everybody. @throws AppError */
export function refuseReadOnly({ mode }: CreateTokenRequest, kind: ImageKind): void {
  if (mode === 'rw' || kind === 'runner') return
  const message =
    'cannot be "ro" here: the image of this session brings its own terminal, into which everybody may type'
  throwFaults([{ code: 'invalid_field', path: 'mode', message }])
}

function requireObject(body: unknown): asserts body is Record<string, unknown> {
  if (typeof body === 'object' && body !== null && !Array.isArray(body)) return
  const got = body === null ? 'null' : Array.isArray(body) ? 'an array' : `a ${typeof body}`
  throw new AppError('body_not_object', { detail: `The body must be a JSON object, got ${got}.` })
}

/** A value of `env` that is too large has the code of its own. */
function asEnvFault(body: Record<string, unknown>): (fault: Fault) => Fault {
  return (fault) => {
    const value = fault.path.startsWith('env.')
      ? (body['env'] as Record<string, unknown>)[fault.path.slice(4)]
      : undefined
    const isTooLarge = typeof value === 'string' && utf8Length(value) > LIMITS.envValueBytes
    return isTooLarge ? { ...fault, code: 'env_too_large' } : fault
  }
}

function envFaults(env: unknown): Fault[] {
  if (typeof env !== 'object' || env === null || Array.isArray(env)) return []
  const faults: Fault[] = []
  let bytes = 0
  // Object.entries sees a key named __proto__, which the schema's record passes over.
  for (const [name, value] of Object.entries(env)) {
    const why = name === '__proto__' ? 'is not a name that programs can be given' : refusedEnvName(name)
    if (why !== undefined) faults.push({ code: 'env_name', path: `env.${shown(name)}`, message: why })
    bytes += utf8Length(name) + (typeof value === 'string' ? utf8Length(value) : 0)
  }
  if (bytes > LIMITS.envBytes)
    faults.push({
      code: 'env_too_large',
      path: 'env',
      message: `must be at most ${LIMITS.envBytes} bytes of UTF-8 in all its names and values together, got ${bytes}; put large values into a file of the code`,
    })
  return faults
}

/** Accepted in silence it would make somebody believe that something was verified. */
const CHECKSUM_OF_NOTHING: Fault = {
  code: 'invalid_field',
  path: 'code_checksum_sha256',
  message: 'is the SHA-256 of the bytes behind code_url, which is absent: send code_url too, or leave the checksum out',
}

/** A repository and a folder are not one file of bytes, so they have no checksum; all else may have to have one. */
function checksumFault(codeUrl: CodeUrl, value: unknown, policy: RequestPolicy): Fault | undefined {
  const path = 'code_checksum_sha256'
  const inUrl = checksumOf(codeUrl)
  if (inUrl !== null && typeof value === 'string' && value.toLowerCase() !== inUrl)
    return { code: 'invalid_field', path, message: 'differs from the SHA-256 after "#" in code_url: keep one of them' }
  const given = value !== undefined || inUrl !== null
  if (given && (codeUrl.kind === 'git' || codeUrl.kind === 'folder')) {
    const what = codeUrl.kind === 'git' ? 'a repository' : 'a folder'
    const message = `applies to archives and GitHub tree URLs; ${what} is not a single file: remove it, or use an archive`
    return { code: 'invalid_field', path, message }
  }
  if (given || !policy.requireChecksum || codeUrl.kind === 'folder') return undefined
  const message =
    codeUrl.kind === 'git'
      ? 'is required here, and a repository has none: use an archive or a GitHub tree URL with the SHA-256 of its bytes'
      : 'is required here together with code_url: send the SHA-256 of the bytes behind it'
  return { code: 'checksum_required', path, message }
}

function readCodeUrl(body: Record<string, unknown>, policy: RequestPolicy, faults: Fault[]): CodeUrl | undefined {
  const text = body['code_url']
  if (text === undefined && body['code_checksum_sha256'] !== undefined) faults.push(CHECKSUM_OF_NOTHING)
  if (typeof text !== 'string' || faults.some((fault) => fault.path === 'code_url')) return undefined
  try {
    const codeUrl = parseCodeUrl(text, policy.fetchPolicy)
    const fault = checksumFault(codeUrl, body['code_checksum_sha256'], policy)
    if (fault) faults.push(fault)
    return codeUrl
  } catch (error) {
    if (!isAppError(error)) throw error
    faults.push({ code: error.code, path: 'code_url', message: error.detail.replace(/^code_url /, '') })
    return undefined
  }
}
