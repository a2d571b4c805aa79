import os from 'node:os'

/** Unit tests lie beside their source, integration tests in test/; both run on the TypeScript source. */
export default {
  testEnvironment: 'node',
  testMatch: [
    '<rootDir>/*/src/**/*.test.ts',
    '<rootDir>/*/test/**/*.test.ts',
    '<rootDir>/cliscale-chart/tests/**/*.test.ts',
    '<rootDir>/scripts/**/*.test.mjs',
    // Their judges are Python programs, which npm run judges installs.
    ...(process.env['CLISCALE_TEST_JUDGES'] ? ['<rootDir>/*/test/**/*.judge.ts'] : []),
  ],
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
