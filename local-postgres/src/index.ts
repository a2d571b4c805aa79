export { type LocalPostgres, type LocalPostgresOptions, type Account, startPostgres } from './server.ts'
