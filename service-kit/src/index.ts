export * from './config.ts'
export * from './drain.ts'
export * from './logger.ts'
export * from './pool.ts'
