import { chooseTests } from '../scripts/slow-tests.mjs'

/** System tests: whole processes through the public API only. `npm run e2e` builds first. */
export default {
  rootDir: '..',
  testEnvironment: 'node',
  ...chooseTests(
    ['e2e/test/**/*.e2e.test.ts'],
    ['e2e/test/{balancer,crashes,cuts,exact-output,page-hostile}.e2e.test.ts'],
  ),
  modulePathIgnorePatterns: ['<rootDir>/[^/]+/dist/'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { target: 'es2022', parser: { syntax: 'typescript' } }, module: { type: 'es6' } },
    ],
  },
  testTimeout: 240_000,
  maxWorkers: 1,
}
