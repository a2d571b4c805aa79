import { describeLauncher } from './launch-contract.ts'
import { createLocalSystem } from './launch-local-system.ts'

describeLauncher('processes on this machine', () => createLocalSystem())
