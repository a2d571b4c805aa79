export { GATEWAY_ENV, GATEWAY_PROCESS_ENV, type GatewayEnv, gatewaySettings } from './config.ts'
export {
  createGateway,
  DEFAULT_LIMITS,
  type Gateway,
  type GatewayDeps,
  type GatewayLimits,
  type GatewayStats,
} from './gateway.ts'
export { GATEWAY_ROUTES } from './metrics.ts'
export { PAGE_CSP } from './http/security-headers.ts'
export { createGatewayServer } from './server.ts'
