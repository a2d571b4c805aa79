/**
 * The values of this run: images by their content, the database, and what belongs to the test cluster.
 *
 * @param {{ images: Record<string, string>, database: string | null, clusterFolder: string | null }} state
 * @param {string | undefined} certificate of the simulated internet's authority
 */
export function deployValues(state, certificate) {
  const onTestCluster = state.clusterFolder !== null
  return {
    controller: { image: state.images.controller },
    gateway: { image: state.images.gateway },
    runner: { image: state.images.runner },
    sessions: {
      extraCaCertificates: certificate ?? '',
      images: sessionImages(state),
    },
    database: { existingSecret: state.database === null ? '' : 'cliscale-database' },
    postgresql: { enabled: state.database === null },
    // The node, its API server and the Ingress of the test cluster lie in a range that is not private.
    networkPolicy: { clusterCidrs: onTestCluster ? ['198.18.0.0/15'] : [] },
    tests: {
      internetAddress: onTestCluster ? 'code.example:443' : 'github.com:443',
      ...(onTestCluster ? { apiServerAddress: '198.18.0.2:6443', databaseAddress: '10.99.0.5:5432' } : {}),
    },
  }
}

/** Images that a session may name: one that is nowhere, and those of state.images that are no parts of ours. */
function sessionImages(state) {
  // A registry that refuses at once.
  const images = { missing: { image: 'localhost:1/cliscale/no-such-image:1', kind: 'runner' } }
  if (state.images.custom) images.custom = { image: state.images.custom, kind: 'runner' }
  if (state.images.ttyd) images.ttyd = { image: state.images.ttyd, kind: 'ttyd' }
  return images
}
