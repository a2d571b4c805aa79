import { describe, expect, test } from '@jest/globals'
import { refusalOf, whyNoHelm } from './helm.ts'

interface Refusal {
  readonly what: string
  readonly values: unknown
  /** Parts of what helm has to say: where, what is wrong, what to do. */
  readonly says: readonly string[]
  readonly release?: string
  readonly namespace?: string
}

/** H1 to H14 are the rows of the list of bad values that the project keeps. */
const REFUSALS: readonly Refusal[] = [
  {
    what: 'H1 a number as text',
    values: { controller: { replicas: '2' } },
    says: ['/controller/replicas', 'got string, want integer'],
  },
  {
    what: 'H2 a name with a slip, with the names that there are',
    values: { contoller: {} },
    says: ["additional properties 'contoller' not allowed", "'controller'"],
  },
  {
    what: 'H2 a name with a slip further down',
    values: { gateway: { replica: 3 } },
    says: ['/gateway', "'replica' not allowed", "'replicas'"],
  },
  {
    what: 'H3 no tag',
    values: { image: { tag: '' } },
    says: ['image.tag: is empty; name the version to install, such as 0.1.0'],
  },
  {
    what: 'H3 the latest',
    values: { image: { tag: 'latest' } },
    says: ['image.tag: latest is another image every day'],
  },
  {
    what: 'H3 the latest of one image',
    values: { runner: { image: 'acme/runner:latest' } },
    says: ['runner.image: acme/runner:latest is another image every day; name a version, such as acme/runner:1.2.3'],
  },
  {
    what: 'H3 the latest of an image that sessions may name',
    values: { sessions: { images: { py: { image: 'a/b:latest', kind: 'runner' } } } },
    says: ['sessions.images.py.image: a/b:latest is another image every day'],
  },
  {
    what: 'H3 no version of an image that sessions may name',
    values: { sessions: { images: { py: { image: 'registry:5000/a/b', kind: 'runner' } } } },
    says: ['sessions.images.py.image: registry:5000/a/b has no tag; image.tag is not meant for it. Name a version'],
  },
  {
    what: 'H4 any origin',
    values: { publicUrl: '*' },
    says: ['/publicUrl', "'*' does not match pattern"],
  },
  {
    what: 'H4 any host',
    values: { ingress: { hostname: '*' } },
    says: ['/ingress/hostname', "'*' does not match pattern"],
  },
  {
    what: 'H5 neither a host nor plain http',
    values: { ingress: { hostname: '', insecureHttp: false, tls: { existingSecret: '' } } },
    says: ['ingress.hostname: is empty and ingress.insecureHttp is false', 'ingress.insecureHttp=true to try it out'],
  },
  {
    what: 'H5 a host, and neither a certificate nor plain http',
    values: { ingress: { insecureHttp: false, tls: { existingSecret: '' } } },
    says: ['ingress.tls: nothing is set and ingress.insecureHttp is false; set one of ingress.tls.existingSecret'],
  },
  {
    what: 'a certificate without a name to be for',
    values: { ingress: { hostname: '' } },
    says: ['ingress.hostname: is empty, but ingress.tls.existingSecret needs one'],
  },
  {
    what: 'two certificates',
    values: { ingress: { tls: { certManagerClusterIssuer: 'letsencrypt' } } },
    says: ['ingress.tls: ingress.tls.existingSecret and ingress.tls.certManagerClusterIssuer are set; keep one'],
  },
  {
    what: "Google's certificate without Google's load balancer",
    values: { ingress: { tls: { existingSecret: '', managedCertificate: true } } },
    says: ["ingress.tls.managedCertificate: is made by GKE's load balancer; set ingress.gce.enabled=true"],
  },
  {
    what: "a class with Google's load balancer",
    values: { ingress: { className: 'nginx', gce: { enabled: true } } },
    says: ["ingress.className: GKE's load balancer has no class"],
  },
  {
    what: 'H6 no database',
    values: { database: { existingSecret: '' } },
    says: ['database: none is named; set one of database.existingSecret', 'postgresql.enabled=true'],
  },
  {
    what: 'H6 two databases',
    values: { postgresql: { enabled: true } },
    says: ['database: database.existingSecret and postgresql.enabled are set; keep one'],
  },
  {
    what: 'H6 Cloud SQL without users, and with a Secret',
    values: { database: { cloudSql: { instance: 'p:r:i' } } },
    says: [
      'database: database.existingSecret and database.cloudSql.instance are set; keep one',
      'database.cloudSql.user: is empty; name the IAM user',
      'database.cloudSql.gatewayUser: is empty',
    ],
  },
  {
    what: 'H6 a user as the service account is called elsewhere',
    values: {
      database: { cloudSql: { instance: 'p:r:i', user: 'a@p.iam.gserviceaccount.com', gatewayUser: 'g@p.iam' } },
    },
    says: ['database.cloudSql.user: PostgreSQL knows the service account without .gserviceaccount.com; write a@p.iam'],
  },
  {
    what: 'H7 a setting that the chart makes as well',
    values: { controller: { env: { CLISCALE_DRAIN_SECONDS: '5' } } },
    says: [
      'controller.env.CLISCALE_DRAIN_SECONDS: the chart sets this one itself; use its value (controller.drainSeconds)',
    ],
  },
  {
    what: 'H7 a setting that the chart may make',
    values: { gateway: { env: { CLISCALE_PUBLIC_URL: 'https://x.example' } } },
    says: [
      'gateway.env.CLISCALE_PUBLIC_URL: the chart sets this one itself; use its value (publicUrl or ingress.hostname)',
    ],
  },
  {
    what: 'a secret among the settings',
    values: { controller: { env: { CLISCALE_API_KEY_FILE: '/x' } } },
    says: ['controller.env.CLISCALE_API_KEY_FILE: is a secret', 'give it by a Secret'],
  },
  {
    what: 'H8 a number of replicas and an autoscaler',
    values: { gateway: { autoscaling: { enabled: true } } },
    says: ['/gateway', "'autoscaling' not allowed", "'replicas'"],
  },
  {
    what: 'H9 a request above its limit',
    values: { controller: { resources: { requests: { cpu: 3 }, limits: { cpu: '1500m' } } } },
    says: ['controller.resources.requests.cpu: 3 is more than the limit 1500m; raise controller.resources.limits.cpu'],
  },
  {
    what: 'H9 memory without a unit',
    values: { sessions: { resources: { work: { requests: { memory: 512 } } } } },
    says: [
      'sessions.resources.work.requests.memory: 512 is a number of bytes, too few for anything; add the unit, as in 512Mi',
    ],
  },
  {
    what: 'H9 memory in thousandths',
    values: { gateway: { resources: { limits: { memory: '512m' } } } },
    says: ['gateway.resources.limits.memory: 512m is a number of bytes', 'as in 512Mi'],
  },
  {
    what: 'H9 an amount that is none',
    values: { gateway: { resources: { limits: { cpu: 'two' } } } },
    says: ['gateway.resources.limits.cpu: two is not an amount; write 500m or 2'],
  },
  {
    what: 'H9 no limit',
    values: { gateway: { resources: { limits: { memory: null } } } },
    says: ['gateway.resources.limits.memory: is missing; every container needs requests and limits'],
  },
  {
    what: 'H10 a release name that makes names too long',
    values: {},
    release: 'a-name-for-a-release-that-is-too-long',
    says: ['release name: names would begin with', 'set fullnameOverride to at most 33'],
  },
  {
    what: 'H10 a namespace for the release by a value',
    values: { namespaceOverride: 'other' },
    says: ["'namespaceOverride' not allowed", "'fullnameOverride'"],
  },
  {
    what: 'H11 sessions beside the keys',
    values: { sessions: { namespace: 'ws-cli' } },
    says: ["sessions.namespace: ws-cli is the release's own namespace, where the keys are; name another one"],
  },
  {
    what: "H11 sessions in a namespace of the cluster's",
    values: { sessions: { namespace: 'kube-system' } },
    says: ['sessions.namespace: kube-system belongs to others'],
  },
  {
    what: 'H13 a drain that outlasts Helm',
    values: { gateway: { drainSeconds: 600 } },
    says: [
      "gateway.drainSeconds: 600 is more than 115; an upgrade waits for the old pods, so Helm's --timeout (300 s)",
    ],
  },
  {
    what: 'H14 a key by two ways',
    values: { signingKey: { pem: '-----BEGIN PRIVATE KEY-----' } },
    says: ['signingKey: pem and existingSecret are both set; keep one'],
  },
  {
    what: 'a key that is none',
    values: { signingKey: { existingSecret: '', pem: 'hello' }, dataKey: { existingSecret: '', value: 'short' } },
    says: [
      'signingKey.pem: holds no RSA private key in PEM; make one with: openssl genrsa 2048',
      'dataKey.value: is not 32 bytes',
    ],
  },
  {
    what: 'an API key that no client could send',
    values: { apiKey: { existingSecret: '', value: 'with space' } },
    says: ['/apiKey/value', 'does not match pattern'],
  },
  {
    what: 'an object for Prometheus without metrics',
    values: { metrics: { podMonitoring: { enabled: true } } },
    says: ['metrics.podMonitoring.enabled: there is nothing to scrape; set metrics.enabled=true as well'],
  },
  {
    what: 'an image of a kind that is none',
    values: { sessions: { images: { py: { image: 'a/b:1', kind: 'docker' } } } },
    says: ['/sessions/images/py/kind', "'runner', 'ttyd'"],
  },
]

if (whyNoHelm !== undefined) {
  test('without helm no values are tried', () => {
    console.log(`The chart's refusals are not tried: ${whyNoHelm}.`)
    expect(REFUSALS.length).toBeGreaterThan(30)
  })
} else {
  describe('values that cannot work are refused with where, what and what to do', () => {
    test('the case that they are tried on is taken', () => {
      expect(refusalOf({})).toBeUndefined()
    })

    test.each(REFUSALS)('$what', ({ values, says, ...options }) => {
      const said = refusalOf(values, options) ?? 'nothing'
      for (const part of says) expect(said).toContain(part)
    })

    test('all faults are told at once', () => {
      const said = refusalOf({ image: { tag: '' }, gateway: { drainSeconds: 600 }, database: { existingSecret: '' } })
      expect(said?.match(/^ {2}- /gm)).toHaveLength(3)
    })
  })
}
