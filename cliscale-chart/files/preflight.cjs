// Runs before the migration: are the Secrets there that the release was told to use?
const { existsSync } = require('node:fs')
const faults = JSON.parse(process.env.SECRETS).flatMap(({ secret, keys, value }) => {
  const missing = keys.filter((key) => !existsSync(`/preflight/${secret}/${key}`))
  if (missing.length === 0) return []
  const literals = keys.map((key) => `--from-literal=${key}=…`).join(' ')
  const make = `kubectl create secret generic ${secret} -n ${process.env.NAMESPACE} ${literals}`
  return [`Secret ${secret} (${value}) has no ${missing.join(' and no ')}. Make it, then install again:\n  ${make}`]
})
for (const fault of faults) console.error(fault)
process.exitCode = faults.length === 0 ? 0 : 1
