import { wholeNumber } from './config.ts'

/** The setting that each service has for its metrics. */
export const METRICS_ENV = {
  CLISCALE_METRICS_PORT: wholeNumber(0, 65_535)
    .optional()
    .meta({ description: 'The port that serves /metrics for Prometheus and nothing else. No metrics when absent.' }),
} as const
