export { GATEWAY_ENV, GATEWAY_PROCESS_ENV, gatewaySettings } from './config.ts'
export { createGateway, type Gateway } from './gateway.ts'
export { GATEWAY_ROUTES } from './metrics.ts'
export { PAGE_CSP } from './http/security-headers.ts'
