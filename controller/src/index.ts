/** What a composition of several services in one process needs of the controller. */
export {
  CONTROLLER_ENV,
  CONTROLLER_PROCESS_ENV,
  type ControllerEnv,
  type ControllerSettings,
  controllerSettings,
} from './config.ts'
export { type Controller, createController, type ControllerDeps } from './controller.ts'
export { migrate } from './db/migrate.ts'
export { findSchemaFault } from './db/schema-version.ts'
export type { Launcher } from './launch/launcher.ts'
export type { LocalLauncherOptions } from './launch/local/launcher-options.ts'
export { createLocalLauncher } from './launch/local/local-launcher.ts'
export type { ApiKey } from './identity/api-keys.ts'
export { CONTROLLER_ROUTES, internalRoute } from './metrics.ts'
export { createSigner, generateSigningKey, type Signer } from './tokens/signer.ts'
