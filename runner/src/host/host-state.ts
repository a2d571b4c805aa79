import { randomBytes } from 'node:crypto'
import { appendFileSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { SessionEvent } from '@cliscale/contract'
import { z } from 'zod'

const Kept = z.object({
  /** Of the claim: the same host may repeat it. */
  nonce: z.string().min(16),
  /** Opens work. */
  workSecret: z.string().min(16),
  /** Whether work was ever reached: from then on, nobody listening means that it is gone. */
  workSeen: z.boolean(),
  /** What viewers are shown of the command, once it is known. */
  shownCommand: z.string().optional(),
})

/** Writes a file whole or not at all, readable by this user only. */
export function writeFileAtomically(file: string, text: string): void {
  const next = `${file}.${process.pid}.tmp`
  writeFileSync(next, text, { mode: 0o600 })
  renameSync(next, file)
}

/**
 * Says in the endpoint file that nothing is left to do: a launcher that did not start this process cannot see its exit
 * code. What cannot be written costs one more life, which finds that out by itself.
 */
export function leaveDoneSign(endpointFile: string): void {
  try {
    writeFileAtomically(endpointFile, JSON.stringify({ done: true }))
  } catch {
    // the disk is full
  }
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/**
 * What a host keeps beside its journal, so that a next life goes on where this one was: its nonce, work's secret, what
 * viewers are shown of the command, and every event in order. Never more of the work order, and no credential of the controller.
 */
export class HostState {
  private readonly file: string
  private readonly eventsFile: string
  private kept: z.infer<typeof Kept>
  private readonly list: SessionEvent[]

  /** Reads what an earlier life wrote to `spoolDir`, or begins anew. Throws on a folder that cannot be used. */
  constructor(spoolDir: string) {
    mkdirSync(spoolDir, { recursive: true, mode: 0o700 })
    this.file = path.join(spoolDir, 'host.json')
    this.eventsFile = path.join(spoolDir, 'events.ndjson')
    const text = readIfThere(this.file)
    const random = (): string => randomBytes(32).toString('hex')
    this.kept =
      text === undefined
        ? { nonce: random(), workSecret: random(), workSeen: false }
        : Kept.parse(JSON.parse(text) as unknown)
    if (text === undefined) this.save()
    this.list = parseEvents(readIfThere(this.eventsFile) ?? '')
  }

  get nonce(): string {
    return this.kept.nonce
  }
  get workSecret(): string {
    return this.kept.workSecret
  }
  get workSeen(): boolean {
    return this.kept.workSeen
  }

  markWorkSeen(): void {
    if (this.kept.workSeen) return
    this.kept = { ...this.kept, workSeen: true }
    this.save()
  }

  get shownCommand(): string | undefined {
    return this.kept.shownCommand
  }

  /** Kept for the next life, which may get no order any more. What cannot be written is known in this life only. */
  keepShownCommand(shownCommand: string): void {
    if (this.kept.shownCommand === shownCommand) return
    this.kept = { ...this.kept, shownCommand }
    try {
      this.save()
    } catch {
      // The disk is full: no reason not to run the session.
    }
  }

  get events(): readonly SessionEvent[] {
    return this.list
  }

  /** Adds an event unless it is there: a stage counts by its name, `running` and `ended` once. Returns whether it was added. */
  addEvent(event: SessionEvent): boolean {
    if (this.list.some((old) => sameEvent(old, event))) return false
    this.list.push(event)
    try {
      // The leading newline closes a line that an earlier life left torn.
      appendFileSync(this.eventsFile, `\n${JSON.stringify(event)}\n`, { mode: 0o600 })
    } catch {
      // A full disk: this life still knows it and reports it.
    }
    return true
  }

  private save(): void {
    writeFileAtomically(this.file, JSON.stringify(this.kept))
  }
}

function sameEvent(a: SessionEvent, b: SessionEvent): boolean {
  return a.type === b.type && (a.type !== 'stage' || b.type !== 'stage' || a.name === b.name)
}

function parseEvents(text: string): SessionEvent[] {
  return text.split('\n').flatMap((line) => {
    try {
      const parsed = SessionEvent.safeParse(JSON.parse(line))
      return parsed.success ? [parsed.data] : []
    } catch {
      return [] // blank, or torn by a kill in the middle of the write
    }
  })
}
