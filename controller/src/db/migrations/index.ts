import type { Knex } from 'knex'
import * as m0001 from './0001-sessions.ts'
import * as m0002 from './0002-launches.ts'
import * as m0003 from './0003-session-states.ts'
import * as m0004 from './0004-session-events.ts'
import * as m0005 from './0005-ended-session-events.ts'
import * as m0006 from './0006-output-times.ts'
import * as m0007 from './0007-backends.ts'

/** A step of the schema. `breaking`: the previous release cannot work with it, and refuses to. */
export interface Migration {
  readonly name: string
  readonly breaking: boolean
  up(trx: Knex): Promise<void>
  down(trx: Knex): Promise<void>
  /** `{ transaction: false }` for what cannot run in one, such as `create index concurrently`. */
  readonly config?: { readonly transaction?: boolean }
}

/** All migrations in order. Listed in code, so that a file's extension is no part of its name. */
export const MIGRATIONS: readonly Migration[] = [
  { name: '0001-sessions', breaking: m0001.breaking, up: m0001.up, down: m0001.down },
  { name: '0002-launches', breaking: m0002.breaking, up: m0002.up, down: m0002.down },
  { name: '0003-session-states', breaking: m0003.breaking, up: m0003.up, down: m0003.down },
  { name: '0004-session-events', breaking: m0004.breaking, up: m0004.up, down: m0004.down },
  { name: '0005-ended-session-events', breaking: m0005.breaking, up: m0005.up, down: m0005.down },
  { name: '0006-output-times', breaking: m0006.breaking, up: m0006.up, down: m0006.down },
  { name: '0007-backends', breaking: m0007.breaking, up: m0007.up, down: m0007.down },
]
