export { cloneTestDatabase, createTestDatabase, type TestDatabase } from './database.ts'
export { startTestPostgres, type TestPostgres } from './postgres.ts'
export { POD_SECURITY_RULES, type PodShape, type PodSpecShape, podSecurityFindings } from './pod-security.ts'
export { autobahn, schemathesis, type Verdict, withHeaders } from './judges.ts'
