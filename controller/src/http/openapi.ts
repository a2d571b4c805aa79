import {
  CreateSessionRequest,
  CreateSessionResponse,
  CreateTokenRequest,
  type ErrorCode,
  ERRORS,
  IDEMPOTENCY_KEY,
  LIMITS,
  SessionList,
  SessionView,
  TokenResponse,
} from '@cliscale/contract'
import { z } from 'zod'
import {
  createDocument,
  type ZodOpenApiOperationObject,
  type ZodOpenApiResponseObject,
  type ZodOpenApiResponsesObject,
} from 'zod-openapi'
import { IDEMPOTENCY_HOURS } from '../sessions/idempotency.ts'

const Problem = z
  .object({
    type: z.url().meta({ description: 'The page that describes this code.' }),
    title: z.string(),
    status: z.int().min(400).max(599),
    detail: z.string().meta({ description: 'What is wrong here and what to do. Never a secret.' }),
    instance: z.string().meta({ description: 'The request id.' }),
    code: z.enum(Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]]),
    errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
  })
  .meta({ id: 'Problem', description: 'RFC 9457. Branch on `code`; docs/errors.md lists them.' })

const Jwks = z
  .object({
    keys: z.array(
      z.object({
        kty: z.literal('RSA'),
        n: z.string(),
        e: z.string(),
        kid: z.string().meta({ description: 'RFC 7638 thumbprint.' }),
        alg: z.literal('RS256'),
        use: z.literal('sig'),
      }),
    ),
  })
  .meta({ id: 'Jwks' })

const Health = z.object({ status: z.literal('ok') }).meta({ id: 'Health' })

const sessionPath = z.object({ id: z.uuid().meta({ description: 'The sessionId.' }) })

/** Faults that every call behind an API key can have. */
const COMMON: ErrorCode[] = ['unauthorized', 'duplicate_header', 'bad_request', 'internal_error', 'store_unavailable']
const BODY: ErrorCode[] = ['json_invalid', 'body_not_object', 'unknown_field', 'invalid_field', 'body_too_large']
const SESSION: ErrorCode[] = ['session_not_found']

/** Responses of faults: one for each status, naming the codes that it can carry. */
function problems(codes: readonly ErrorCode[]): ZodOpenApiResponsesObject {
  const byStatus = new Map<number, ErrorCode[]>()
  for (const code of codes) byStatus.set(ERRORS[code].status, [...(byStatus.get(ERRORS[code].status) ?? []), code])
  const entries = [...byStatus].sort(([a], [b]) => a - b)
  return Object.fromEntries(
    entries.map(([status, of]) => [
      String(status),
      {
        description: of.map((code) => `\`${code}\`: ${ERRORS[code].title}.`).join(' '),
        content: { 'application/problem+json': { schema: Problem } },
      },
    ]),
  ) as ZodOpenApiResponsesObject
}

function json(description: string, schema: z.ZodType): ZodOpenApiResponseObject {
  return { description, content: { 'application/json': { schema } } }
}

const createSession: ZodOpenApiOperationObject = {
  operationId: 'createSession',
  summary: 'Start a session',
  description: 'Answers at once: the session is accepted and will run, with or without a viewer.',
  tags: ['sessions'],
  requestParams: {
    header: z.object({
      'Idempotency-Key': z
        .string()
        .max(LIMITS.idempotencyKeyChars)
        .regex(IDEMPOTENCY_KEY)
        .optional()
        .meta({
          description: `Within ${IDEMPOTENCY_HOURS} hours, the same key with the same body returns the same session with a fresh token; with another body it is refused.`,
        }),
    }),
  },
  requestBody: { required: true, content: { 'application/json': { schema: CreateSessionRequest } } },
  responses: {
    '201': {
      ...json('The session is accepted.', CreateSessionResponse),
      headers: z.object({
        Location: z.string().meta({ description: 'The address of the session.' }),
        'Idempotent-Replayed': z
          .literal('true')
          .optional()
          .meta({ description: 'Present when an earlier request with the same key created the session.' }),
      }),
    },
    ...problems([
      ...COMMON,
      ...BODY,
      'body_required',
      'unsupported_media_type',
      'env_name',
      'env_too_large',
      'url_invalid',
      'url_too_long',
      'url_scheme',
      'url_credentials',
      'url_host',
      'url_port',
      'checksum_required',
      'idempotency_key_invalid',
      'idempotency_key_reused',
      'rate_limited',
      'quota_exceeded',
    ]),
  },
}

const listSessions: ZodOpenApiOperationObject = {
  operationId: 'listSessions',
  summary: 'List your sessions, newest first',
  tags: ['sessions'],
  requestParams: {
    query: z.object({
      limit: z.coerce.number().int().min(1).max(100).optional().meta({ description: 'Default: 50.' }),
      cursor: z.string().max(200).optional().meta({ description: 'nextCursor of the previous page.' }),
    }),
  },
  responses: { '200': json('A page.', SessionList), ...problems([...COMMON, 'unknown_field', 'invalid_field']) },
}

const getSession: ZodOpenApiOperationObject = {
  operationId: 'getSession',
  summary: 'The state of a session, or how it ended',
  tags: ['sessions'],
  requestParams: { path: sessionPath },
  responses: { '200': json('The session.', SessionView), ...problems([...COMMON, ...SESSION]) },
}

const stopSession: ZodOpenApiOperationObject = {
  operationId: 'stopSession',
  summary: 'Stop a session',
  description: 'The process gets SIGTERM, then SIGKILL. May be repeated; the record and the log stay.',
  tags: ['sessions'],
  requestParams: { path: sessionPath },
  responses: {
    '202': json('Stop requested, or the session has already ended.', SessionView),
    ...problems([...COMMON, ...SESSION]),
  },
}

const createToken: ZodOpenApiOperationObject = {
  operationId: 'createToken',
  summary: 'A fresh link to the terminal',
  description: 'Opens the terminal once, within 5 minutes. After the session’s end, it shows what the session printed.',
  tags: ['sessions'],
  requestParams: { path: sessionPath },
  requestBody: { required: false, content: { 'application/json': { schema: CreateTokenRequest } } },
  responses: {
    '201': json('The link.', TokenResponse),
    ...problems([...COMMON, ...BODY, 'unsupported_media_type', ...SESSION]),
  },
}

const getLogs: ZodOpenApiOperationObject = {
  operationId: 'getLogs',
  summary: 'What a session has printed so far',
  description: 'The bytes of its terminal, escape sequences included; also after the end.',
  tags: ['sessions'],
  requestParams: { path: sessionPath },
  responses: {
    '200': { description: 'The output.', content: { 'text/plain': { schema: z.string().meta({ id: 'Log' }) } } },
    ...problems([...COMMON, ...SESSION]),
  },
}

function open(operation: ZodOpenApiOperationObject): ZodOpenApiOperationObject {
  return { ...operation, security: [] }
}

/** The OpenAPI 3.1 document of the public API, made of the contract's schemas. Checked in as docs/api/openapi.json. */
export function openApiDocument(): object {
  return createDocument({
    openapi: '3.1.0',
    info: {
      title: 'CLI Scale',
      version: '1',
      description: 'Runs command-line programs in sessions of their own and shows them live.',
      license: { name: 'Proprietary', identifier: 'LicenseRef-Proprietary' },
    },
    servers: [{ url: '/', description: 'The address that serves this document.' }],
    security: [{ apiKey: [] }],
    tags: [
      { name: 'sessions', description: 'A session is one run of a program.' },
      { name: 'system', description: 'Keys and probes.' },
    ],
    components: {
      securitySchemes: {
        apiKey: { type: 'http', scheme: 'bearer', description: 'An API key: `Authorization: Bearer <key>`.' },
      },
    },
    paths: {
      '/api/sessions': { post: createSession, get: listSessions },
      '/api/sessions/{id}': { get: getSession, delete: stopSession },
      '/api/sessions/{id}/token': { post: createToken },
      '/api/sessions/{id}/logs': { get: getLogs },
      '/.well-known/jwks.json': {
        get: open({
          operationId: 'getJwks',
          summary: 'The public keys of our tokens',
          tags: ['system'],
          responses: { '200': json('JWKS (RFC 7517).', Jwks) },
        }),
      },
      '/healthz': {
        get: open({
          operationId: 'getHealth',
          summary: 'Whether the process answers',
          tags: ['system'],
          responses: { '200': json('The process answers.', Health) },
        }),
      },
      '/readyz': {
        get: open({
          operationId: 'getReadiness',
          summary: 'Whether the database answers and the server is not shutting down',
          tags: ['system'],
          responses: { '200': json('Both.', Health), ...problems(['store_unavailable', 'shutting_down']) },
        }),
      },
    },
  })
}
