import { cloneTestDatabase, type TestDatabase } from '@cliscale/test-kit'
import { migrate } from '../src/db/migrate.ts'

/** A database of its own with the schema of this release. */
export function createMigratedDatabase(): Promise<TestDatabase> {
  return cloneTestDatabase('migrated', async (url) => void (await migrate(url)))
}
