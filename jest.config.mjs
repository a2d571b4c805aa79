import os from 'node:os'
import { chooseTests } from './scripts/slow-tests.mjs'

const TESTS = [
  '*/src/**/*.test.ts',
  '*/test/**/*.test.ts',
  'cliscale-chart/tests/**/*.test.ts',
  'scripts/**/*.test.mjs',
  // Their judges are Python programs, which npm run judges installs.
  ...(process.env['TEST_JUDGES'] ? ['*/test/**/*.judge.ts'] : []),
]

/** More than half of the time of all: faults that take many processes, starts and waits. */
const SLOW = [
  'one-machine/test/{metrics,sample-cli,server-keeper,system,up}.int.test.ts',
  'controller/test/{api-faults,launch-cleanup,launch-faults,main,reconcile-cluster,reconcile-crash}.int.test.ts',
  'local-postgres/test/server.int.test.ts',
  'runner/test/fetch/{bombs,git}.int.test.ts',
  'runner/test/{host-controller-faults,host-hostile-work,host-kill,host-life,host-viewers}.int.test.ts',
  'runner/test/{terminal-hostile,terminal-screen,typed-input,work-exact,work-hard,work-install}.int.test.ts',
]

/** Unit tests lie beside their source, integration tests in test/; both run on the TypeScript source. */
export default {
  testEnvironment: 'node',
  ...chooseTests(TESTS, SLOW),
  // Whole systems and browsers have a configuration of their own: e2e/jest.config.mjs.
  testPathIgnorePatterns: ['/node_modules/', '/dist/', '<rootDir>/e2e/'],
  modulePathIgnorePatterns: ['<rootDir>/[^/]+/dist/'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { target: 'es2022', parser: { syntax: 'typescript' } }, module: { type: 'es6' } },
    ],
  },
  globalSetup: '<rootDir>/test-kit/dist/global-setup.js',
  globalTeardown: '<rootDir>/test-kit/dist/global-teardown.js',
  testTimeout: 30_000,
  // Most tests wait for processes and sockets: on two cores, Jest's own choice of one worker leaves one idle.
  maxWorkers: Math.max(2, os.availableParallelism() - 1),
  workerIdleMemoryLimit: '600MB',
}
