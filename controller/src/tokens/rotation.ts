import { setTimeout as sleep } from 'node:timers/promises'
import { END_LIMITS, LIMITS, longestSessionSeconds, START_LIMITS } from '@cliscale/contract'
import { z } from 'zod'
import { generateSigningKey, isPublicPem, kidOf, publicPem, splitPem } from './signer.ts'

/** Where the signing keys are kept, for everybody who signs. */
export interface KeySecret {
  read(): Promise<StoredKeys>
  /** Returns false when somebody else has changed it since it was read: nothing was written. */
  write(keys: StoredKeys): Promise<boolean>
}

export interface StoredKeys {
  /** PEM blocks: private keys, the first of which signs, and public ones of retired keys. */
  readonly pem: string
  /** What the last step of a rotation has left behind, for the next; undefined: none was ever made. */
  readonly note: string | undefined
  /** Of what was read; a write is refused when it is not the present one. */
  readonly version: string
}

export interface RotationOptions {
  readonly secret: KeySecret
  /** Between publishing a key and signing with it: mounted files have to change, and every cache of public keys to end. */
  readonly publishMs: number
  /** Between the last signature of a key and its retirement: files have to change, and its tokens to expire. */
  readonly retireMs: number
  /** Who rotates; the same after a restart in the middle. */
  readonly by: string
  readonly say: (sentence: string) => void
  readonly now?: () => number
  readonly pause?: (ms: number) => Promise<unknown>
}

/** An assertion is good for as long as its session may last, and its launch may linger. */
const LONGEST_SESSION_MS =
  1000 *
  (END_LIMITS.lingerSeconds +
    longestSessionSeconds({
      queueSeconds: START_LIMITS.longestQueueSeconds,
      timeoutSeconds: LIMITS.timeoutSeconds.max,
    }))
/** How often a run that waits looks whether another has gone on. */
const LOOK_MS = 30_000
/** Writes that met another's, in a row. */
const MAX_CONFLICTS = 20

const Note = z.object({
  step: z.enum(['published', 'signing', 'retired']),
  /** When that was. */
  at: z.iso.datetime(),
  /** The new key, by its thumbprint. */
  kid: z.string(),
  by: z.string(),
  /** When each retired key was. */
  retired: z.record(z.string(), z.iso.datetime()).default({}),
})
type Note = z.infer<typeof Note>

type Step =
  | { readonly do: 'write'; readonly pem: string; readonly note: Note; readonly say: string }
  | { readonly do: 'wait'; readonly ms: number; readonly say: string }
  | { readonly do: 'nothing' }

/**
 * Replaces the signing key, in four steps: a new key is published beside the old one, after a while it signs in its place,
 * after another the old one is retired: only its public half stays, for as long as a session may live.
 *
 * Which step comes next is read from the keys and the note beside them, so a run that was ended anywhere is gone on with by
 * the next. Several at once make one rotation: a write that met another's is thought over. A run that finds a rotation
 * under way finishes that one and begins none.
 *
 *   [old] → publish → [old, new] → wait → sign → [new, old] → wait → retire → [new, public half of old]
 *
 * @throws Error when the keys are not ones that a rotation could have left.
 */
export async function rotate(options: RotationOptions): Promise<void> {
  const { secret, say, pause = sleep } = options
  const now = options.now ?? Date.now
  let fresh: Promise<string> | undefined
  const freshKey = (): Promise<string> => (fresh ??= generateSigningKey())
  let isOurs = false
  let said = ''
  for (let conflicts = 0; conflicts < MAX_CONFLICTS;) {
    const stored = await secret.read()
    const step = await nextStep(stored, { ...options, now: now(), isOurs, freshKey })
    if (step.do === 'nothing') return say('The rotation is complete.')
    isOurs = true
    if (step.say !== said) say((said = step.say))
    if (step.do === 'wait') await pause(Math.min(step.ms, LOOK_MS))
    else if (await secret.write({ ...stored, pem: step.pem, note: JSON.stringify(step.note) })) conflicts = 0
    else {
      conflicts++
      await pause(100 + Math.random() * 400)
    }
  }
  throw new Error('the Secret keeps being changed by somebody else')
}

interface Known {
  readonly publishMs: number
  readonly retireMs: number
  readonly by: string
  readonly now: number
  /** Whether this run has seen, or made, a step of the rotation. */
  readonly isOurs: boolean
  /** The new key; made when it is needed, once for a run. */
  readonly freshKey: () => Promise<string>
}

interface Keys {
  /** One, or two during a rotation. */
  readonly private: readonly [string, string?]
  readonly retired: readonly string[]
}

function readKeys(pem: string): Keys {
  const blocks = splitPem(pem)
  const [first, second, ...more] = blocks.filter((block) => !isPublicPem(block))
  if (first === undefined) throw new Error('there is no private key; nothing can be rotated')
  if (more.length > 0)
    throw new Error(
      `there are ${more.length + 2} private keys, but a rotation handles two: keep the one that signs first in the list, and at most one more`,
    )
  return { private: second === undefined ? [first] : [first, second], retired: blocks.filter(isPublicPem) }
}

async function nextStep(stored: StoredKeys, known: Known): Promise<Step> {
  const note = parseNote(stored.note)
  const { private: keys, retired } = readKeys(stored.pem)
  const [first, second] = keys
  if (second !== undefined) return goOn(stored.pem, [first, second], retired, note, known)
  // Also refuses a key that can't be used.
  await kidOf(first)
  if (note?.step === 'retired' && (known.isOurs || note.by === known.by)) return { do: 'nothing' }
  return publish(first, retired, note, known)
}

async function goOn(
  pem: string,
  keys: readonly [string, string],
  retired: readonly string[],
  note: Note | undefined,
  known: Known,
): Promise<Step> {
  const kids = [await kidOf(keys[0]), await kidOf(keys[1])] as const
  if (note?.step === 'signing' && note.kid === kids[0]) return retire(keys, kids, retired, note, known)
  if (note?.step === 'published' && note.kid === kids[1]) return sign(keys, retired, note, known)
  // Somebody may have put the keys back to what they were a moment before; what they are is what counts.
  const wasRetired = note?.step === 'retired' && note.kid === kids[0]
  return {
    do: 'write',
    pem,
    note: wasRetired ? noteOf('signing', kids[0], note, known) : noteOf('published', kids[1], note, known),
    say: 'There are two keys, and nothing says since when; they are treated as a rotation that has just begun.',
  }
}

async function publish(first: string, retired: readonly string[], note: Note | undefined, known: Known): Promise<Step> {
  const fresh = await known.freshKey()
  const kid = await kidOf(fresh)
  return {
    do: 'write',
    pem: [first, fresh, ...retired].join(''),
    note: noteOf('published', kid, note, known),
    say: `A new key is published: ${kid}.`,
  }
}

function sign(keys: readonly [string, string], retired: readonly string[], note: Note, known: Known): Step {
  const ms = remaining(note, known.publishMs, known)
  if (ms > 0) return { do: 'wait', ms, say: `The new key signs at ${timeOf(ms, known)}, when every cache knows it.` }
  const [old, fresh] = keys
  return {
    do: 'write',
    pem: [fresh, old, ...retired].join(''),
    note: noteOf('signing', note.kid, note, known),
    say: 'The new key signs.',
  }
}

async function retire(
  keys: readonly [string, string],
  kids: readonly [string, string],
  retired: readonly string[],
  note: Note,
  known: Known,
): Promise<Step> {
  const ms = remaining(note, known.retireMs, known)
  if (ms > 0)
    return { do: 'wait', ms, say: `The old key is retired at ${timeOf(ms, known)}, when its last tokens have expired.` }
  const [fresh, old] = keys
  const times: Record<string, string> = { [kids[1]]: iso(known.now) }
  const kept: string[] = []
  for (const pem of retired) {
    const kid = await kidOf(pem)
    const at = note.retired[kid] ?? iso(known.now)
    // A session that began before may still be there, with an assertion of that key.
    if (known.now - Date.parse(at) > LONGEST_SESSION_MS || kid in times) continue
    times[kid] = at
    kept.push(pem)
  }
  return {
    do: 'write',
    pem: [fresh, publicPem(old), ...kept].join(''),
    note: { ...noteOf('retired', note.kid, note, known), retired: times },
    say: 'The old key is retired; its public key stays for sessions with assertions that it has signed.',
  }
}

function noteOf(step: Note['step'], kid: string, before: Note | undefined, { now, by }: Known): Note {
  return { step, at: iso(now), kid, by, retired: before?.retired ?? {} }
}

/** A clock that was ahead makes nobody wait for longer than once. */
function remaining(note: Note, waitMs: number, { now }: Known): number {
  return Math.min(Date.parse(note.at), now) + waitMs - now
}

function parseNote(text: string | undefined): Note | undefined {
  try {
    return Note.parse(JSON.parse(text ?? ''))
  } catch {
    return undefined
  }
}

function iso(ms: number): string {
  return new Date(ms).toISOString()
}

function timeOf(ms: number, { now }: Known): string {
  return iso(now + ms)
}
