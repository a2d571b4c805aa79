/** Requests and responses of the public API. Requests are snake_case, responses camelCase. */
import { z } from 'zod'
import { START_LIMITS } from './limits.ts'
import { REASON_NAMES, SESSION_STATUSES, STAGES } from './session.ts'
import { DEFAULT_SIZE, MAX_COLUMNS, MAX_ROWS } from './terminal.ts'

export const LIMITS = {
  bodyBytes: 1.5 * 1024 * 1024,
  commandBytes: 64 * 1024,
  promptBytes: 64 * 1024,
  envValueBytes: 64 * 1024,
  envBytes: 256 * 1024,
  urlChars: 2048,
  timeoutSeconds: { min: 1, max: 24 * 60 * 60, default: 60 * 60 },
  idempotencyKeyChars: 255,
} as const

/** Printable ASCII, and not only spaces: HTTP takes those off the ends of a header's value. */
export const IDEMPOTENCY_KEY = /^[ -~]*[!-~][ -~]*$/

const encoder = new TextEncoder()
/** Length of a string in UTF-8 bytes. */
export function utf8Length(text: string): number {
  return encoder.encode(text).length
}

/** A string that PostgreSQL, an environment and an argument list can all hold: no NUL, no lone surrogate. */
function text(maxBytes: number) {
  return z
    .string()
    .refine((s) => !s.includes('\0'), { error: 'must not contain a NUL character (\\u0000)' })
    .refine((s) => s.isWellFormed(), { error: 'must be valid Unicode: it contains half of a surrogate pair' })
    .refine((s) => utf8Length(s) <= maxBytes, {
      error: (issue) => `must be at most ${maxBytes} bytes of UTF-8, got ${utf8Length(issue.input as string)}`,
    })
}

const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/

export const CreateSessionRequest = z
  .strictObject({
    command: text(LIMITS.commandBytes)
      .refine((s) => s.trim() !== '', { error: 'must not be empty' })
      .optional()
      .meta({
        description: 'Runs as `bash -c`, byte for byte. Required, unless the image brings its own terminal.',
        example: 'node index.js run',
        minLength: 1,
        maxLength: LIMITS.commandBytes,
      }),
    code_url: text(LIMITS.urlChars * 4)
      .optional()
      .meta({
        minLength: 1,
        maxLength: LIMITS.urlChars,
        description:
          'A git repository (with #branch, #tag or #commit), a tree URL of GitHub, GitLab, Bitbucket, Gitea or Forgejo, or a .zip, .tar.gz, .tgz or .tar (with #sha256=). Without it the command runs in an empty folder.',
      }),
    prompt: text(LIMITS.promptBytes)
      .optional()
      .meta({ description: 'Given to the command as PROMPT and CLISCALE_PROMPT.', maxLength: LIMITS.promptBytes }),
    install_cmd: text(LIMITS.commandBytes)
      .optional()
      .meta({
        maxLength: LIMITS.commandBytes,
        description: `Runs before the command. When absent, the files at the top level of the code decide what is installed, by the tool that they are for (npm, pnpm, yarn, bun; uv or pip into a .venv). When empty, nothing is installed. It may take at most ${START_LIMITS.installSeconds / 60} minutes; timeout_seconds counts from the start of the command.`,
      }),
    code_checksum_sha256: z
      .string()
      .regex(/^[0-9a-fA-F]{64}$/, { error: 'must be 64 hexadecimal digits (the SHA-256 of the bytes behind code_url)' })
      .optional(),
    env: z
      .record(z.string().meta({ pattern: ENV_NAME.source }), text(LIMITS.envValueBytes))
      .optional()
      .meta({ description: 'Refused: PROMPT, CLISCALE_*, and names that change how programs are loaded.' }),
    timeout_seconds: z
      .int()
      .min(LIMITS.timeoutSeconds.min)
      .max(LIMITS.timeoutSeconds.max)
      .optional()
      .meta({ description: `Counts from the start of the command; ${LIMITS.timeoutSeconds.default} when absent.` }),
    columns: z
      .int()
      .min(1)
      .max(MAX_COLUMNS)
      .optional()
      .meta({
        description: `Width in characters of the terminal when the command starts; ${DEFAULT_SIZE.columns} when absent. A window that opens the session sets its own size.`,
      }),
    rows: z
      .int()
      .min(1)
      .max(MAX_ROWS)
      .optional()
      .meta({ description: `Height in lines of that terminal; ${DEFAULT_SIZE.rows} when absent.` }),
    image: z.string().optional().meta({
      description:
        'The name of an image that the operator allows; the runner’s own image when absent. An image with its own ttyd runs its own command: only `timeout_seconds` may be given with it.',
    }),
  })
  .meta({ id: 'CreateSessionRequest' })
export type CreateSessionRequest = z.infer<typeof CreateSessionRequest>

export const CreateTokenRequest = z
  .strictObject({ mode: z.enum(['rw', 'ro']).default('rw') })
  .meta({ id: 'CreateTokenRequest' })
export type CreateTokenRequest = z.infer<typeof CreateTokenRequest>

const instant = z.iso.datetime()

export const TokenResponse = z
  .object({ sessionJWT: z.string(), terminalUrl: z.url(), wsUrl: z.url(), tokenExpiresAt: instant })
  .meta({ id: 'TokenResponse' })
export type TokenResponse = z.infer<typeof TokenResponse>

export const CreateSessionResponse = TokenResponse.extend({
  sessionId: z.uuid(),
  status: z.enum(SESSION_STATUSES),
}).meta({ id: 'CreateSessionResponse' })
export type CreateSessionResponse = z.infer<typeof CreateSessionResponse>

export const StageEntry = z
  .object({ name: z.enum(STAGES), startedAt: instant, endedAt: instant.nullable() })
  .meta({ id: 'StageEntry' })
export type StageEntry = z.infer<typeof StageEntry>

export const SessionView = z
  .object({
    sessionId: z.uuid(),
    status: z.enum(SESSION_STATUSES),
    reason: z.enum(REASON_NAMES).nullable(),
    detail: z.string().nullable().meta({ description: 'A sentence for a person: what happened and what to do.' }),
    retryable: z
      .boolean()
      .nullable()
      .meta({ description: 'Whether the same session could succeed if it were started again.' }),
    exitCode: z.int().nullable(),
    signal: z.string().nullable(),
    stages: z.array(StageEntry),
    createdAt: instant,
    startedAt: instant.nullable(),
    endedAt: instant.nullable(),
    expiresAt: instant.nullable().meta({ description: 'When the record and its log are removed.' }),
  })
  .meta({ id: 'Session' })
export type SessionView = z.infer<typeof SessionView>

export const SessionList = z
  .object({ sessions: z.array(SessionView), nextCursor: z.string().nullable() })
  .meta({ id: 'SessionList' })
export type SessionList = z.infer<typeof SessionList>

/** Answer of `POST /ws/{id}/redeem` and `GET /ws/{id}/viewer`: who this browser is for this session. */
export const ViewerResponse = z
  .object({
    sessionId: z.uuid(),
    viewer: z.uuid(),
    mode: z.enum(['rw', 'ro']),
    // What the session does now, as StatusMessage of the terminal's protocol, for a page whose terminal cannot say it.
    status: z.enum(SESSION_STATUSES),
    stage: z.enum(STAGES).nullable(),
    since: z.iso.datetime(),
    reason: z.enum(REASON_NAMES).nullable(),
    hint: z.string().nullable(),
  })
  .meta({ id: 'Viewer' })
export type ViewerResponse = z.infer<typeof ViewerResponse>

/** Environment names that a session may not set, with the reason shown to the caller; undefined when it may. */
export function refusedEnvName(name: string): string | undefined {
  if (!ENV_NAME.test(name)) return 'must start with a letter or _ and contain only letters, digits and _'
  if (name === 'PROMPT') return 'is set from the field "prompt"; use that field'
  if (name.startsWith('CLISCALE_')) return 'starts with CLISCALE_, which is reserved'
  if (/^(LD|DYLD)_/.test(name)) return 'would change how programs are loaded, which is not allowed'
  if (name === 'BASH_ENV' || name === 'ENV') return 'would run a file before the command, which is not allowed'
  return undefined
}
