/** The system on a cluster that `npm run e2e:up` made ready: through its public address, and kubectl to break things. */
import { chooseTests } from '../scripts/slow-tests.mjs'
import base from './jest.config.mjs'

export default {
  ...base,
  ...chooseTests(['e2e/cluster/**/*.e2e.test.ts'], ['e2e/cluster/{20,45,50,60}-*.e2e.test.ts']),
  globalSetup: '<rootDir>/e2e/cluster/global-setup.mjs',
  globalTeardown: '<rootDir>/e2e/cluster/global-teardown.mjs',
  testSequencer: '<rootDir>/e2e/cluster/by-name.cjs',
}
