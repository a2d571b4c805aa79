export { type LocalPostgres, type LocalPostgresOptions, startPostgres } from './server.ts'
