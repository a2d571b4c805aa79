/** Jest reporter: writes how many tests passed and failed to the file that TEST_SUMMARY_FILE names. */
import { writeFileSync } from 'node:fs'

export default class CountReporter {
  onRunComplete(_contexts, results) {
    // A file that could not even be loaded holds no failed test, yet something failed.
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites
    const summary = { passed: results.numPassedTests, failed, skipped: results.numPendingTests + results.numTodoTests }
    writeFileSync(process.env['TEST_SUMMARY_FILE'], JSON.stringify(summary))
  }
}
