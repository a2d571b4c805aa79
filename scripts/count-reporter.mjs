/** Jest reporter: writes how many tests passed and failed, and in which files, to the file that TEST_SUMMARY_FILE names. */
import { writeFileSync } from 'node:fs'

export default class CountReporter {
  onRunComplete(_contexts, results) {
    // A file that could not even be loaded holds no failed test, yet something failed.
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites
    const skipped = results.numPendingTests + results.numTodoTests
    const isFailed = (file) => file.numFailingTests > 0 || file.testExecError
    const failedFiles = results.testResults.filter(isFailed).map(({ testFilePath, numPassingTests }) => ({
      file: testFilePath,
      passed: numPassingTests,
    }))
    const summary = { passed: results.numPassedTests, failed, skipped, failedFiles }
    writeFileSync(process.env['TEST_SUMMARY_FILE'], JSON.stringify(summary))
  }
}
