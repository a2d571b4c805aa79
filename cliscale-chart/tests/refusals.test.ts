import { describe, expect, test } from '@jest/globals'
import { refusalOf, whyNoHelm } from './helm.ts'

interface Refusal {
  readonly what: string
  readonly values: unknown
  /** Parts of helm's message: where, what is wrong, what to do. */
  readonly says: readonly string[]
  readonly release?: string
  readonly namespace?: string
}

/** H1 to H14 are rows in the project's list of bad values. */
const REFUSALS: readonly Refusal[] = [
  {
    what: 'H1 a number as text',
    values: { controller: { replicas: '2' } },
    says: ['/controller/replicas', 'got string, want integer'],
  },
  {
    what: 'H2 an unknown name, with the names that exist',
    values: { contoller: {} },
    says: ["additional properties 'contoller' not allowed", "'controller'"],
  },
  {
    what: 'H2 an unknown nested name',
    values: { gateway: { replica: 3 } },
    says: ['/gateway', "'replica' not allowed", "'replicas'"],
  },
  {
    what: 'H3 an image without a tag',
    values: { image: { tag: '' } },
    says: ['image.tag: is empty; name the version to install, such as 0.1.0'],
  },
  {
    what: 'H3 the tag latest',
    values: { image: { tag: 'latest' } },
    says: ['image.tag: latest changes all the time'],
  },
  {
    what: 'H3 the tag latest for one image',
    values: { runner: { image: 'acme/runner:latest' } },
    says: ['runner.image: acme/runner:latest changes all the time; name a version, such as acme/runner:1.2.3'],
  },
  {
    what: 'H3 the tag latest for an image that sessions may use',
    values: { sessions: { images: { py: { image: 'a/b:latest', kind: 'runner' } } } },
    says: ['sessions.images.py.image: a/b:latest changes all the time'],
  },
  {
    what: 'H3 no version for an image that sessions may use',
    values: { sessions: { images: { py: { image: 'registry:5000/a/b', kind: 'runner' } } } },
    says: [
      'sessions.images.py.image: registry:5000/a/b has no tag, and image.tag does not apply to it; name a version',
    ],
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
    says: ['ingress.hostname: is empty and ingress.insecureHttp is false', 'ingress.insecureHttp=true for trial use'],
  },
  {
    what: 'H5 a host, and neither a certificate nor plain http',
    values: { ingress: { insecureHttp: false, tls: { existingSecret: '' } } },
    says: ['ingress.tls: nothing is set and ingress.insecureHttp is false; set one of ingress.tls.existingSecret'],
  },
  {
    what: 'a certificate without a host name',
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
    says: ["ingress.tls.managedCertificate: works only with GKE's load balancer; set ingress.gce.enabled=true"],
  },
  {
    what: "an ingress class with Google's load balancer",
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
    what: 'H6 a user in another form of the service account’s name',
    values: {
      database: { cloudSql: { instance: 'p:r:i', user: 'a@p.iam.gserviceaccount.com', gatewayUser: 'g@p.iam' } },
    },
    says: ['database.cloudSql.user: PostgreSQL knows the service account without .gserviceaccount.com; write a@p.iam'],
  },
  {
    what: 'H7 a setting that the chart makes too',
    values: { controller: { env: { CLISCALE_DRAIN_SECONDS: '5' } } },
    says: [
      "controller.env.CLISCALE_DRAIN_SECONDS: the chart sets this itself; use the chart's value instead (controller.drainSeconds)",
    ],
  },
  {
    what: 'H7 a setting that the chart may make',
    values: { gateway: { env: { CLISCALE_PUBLIC_URL: 'https://x.example' } } },
    says: [
      "gateway.env.CLISCALE_PUBLIC_URL: the chart sets this itself; use the chart's value instead (publicUrl or ingress.hostname)",
    ],
  },
  {
    what: 'a secret among the settings',
    values: { controller: { env: { CLISCALE_API_KEY_FILE: '/x' } } },
    says: ['controller.env.CLISCALE_API_KEY_FILE: is a secret', 'put it into a Secret'],
  },
  {
    what: 'H8 both a number of replicas and an autoscaler',
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
      'sessions.resources.work.requests.memory: 512 is too small, because it is a number of bytes; add the unit, as in 512Mi',
    ],
  },
  {
    what: 'H9 memory in thousandths',
    values: { gateway: { resources: { limits: { memory: '512m' } } } },
    says: ['gateway.resources.limits.memory: 512m is too small, because it is a number of bytes', 'as in 512Mi'],
  },
  {
    what: 'H9 an invalid amount',
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
    what: 'H10 a value for the namespace of the release',
    values: { namespaceOverride: 'other' },
    says: ["'namespaceOverride' not allowed", "'fullnameOverride'"],
  },
  {
    what: 'H11 sessions in the namespace of the keys',
    values: { sessions: { namespace: 'ws-cli' } },
    says: ["sessions.namespace: ws-cli is the release's own namespace, where the keys are; choose another one"],
  },
  {
    what: 'H11 sessions in a namespace of the cluster itself',
    values: { sessions: { namespace: 'kube-system' } },
    says: ['sessions.namespace: kube-system is used by others'],
  },
  {
    what: 'H13 a drain that outlasts Helm',
    values: { gateway: { drainSeconds: 600 } },
    says: [
      "gateway.drainSeconds: 600 is more than 115; an upgrade waits for the old pods, so Helm's --timeout (300 s)",
    ],
  },
  {
    what: 'H14 a key given in two ways',
    values: { signingKey: { pem: '-----BEGIN PRIVATE KEY-----' } },
    says: ['signingKey: pem and existingSecret are both set; keep one'],
  },
  {
    what: 'an invalid key',
    values: { signingKey: { existingSecret: '', pem: 'hello' }, dataKey: { existingSecret: '', value: 'short' } },
    says: [
      'signingKey.pem: contains no RSA private key in PEM; make one with: openssl genrsa 2048',
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
    what: 'an image of an unknown kind',
    values: { sessions: { images: { py: { image: 'a/b:1', kind: 'docker' } } } },
    says: ['/sessions/images/py/kind', "'runner', 'ttyd'"],
  },
  {
    what: 'a setting that null removes',
    values: { networkPolicy: { enabled: null } },
    says: ["at '/networkPolicy': missing property 'enabled'"],
  },
  {
    what: 'all settings of a part that null removes',
    values: { ingress: { gce: null } },
    says: ["at '/ingress': missing property 'gce'"],
  },
  {
    what: 'an IP address as a host name',
    values: { ingress: { hostname: '10.0.0.1' } },
    says: ['/ingress/hostname', "'10.0.0.1' does not match pattern"],
  },
  {
    what: 'an invalid image',
    values: { controller: { image: 'Acme/Controller' }, gateway: { image: 'a/b:' }, runner: { image: 'a@sha256:1' } },
    says: ["'/controller/image'", "'/gateway/image'", "'/runner/image'"],
  },
  {
    what: 'a tag with a space',
    values: { image: { tag: '1 0' } },
    says: ['/image/tag', "'1 0' does not match pattern"],
  },
  {
    what: 'H9 an unknown resource',
    values: { sessions: { resources: { work: { limits: { mem: '4Gi' } } } } },
    says: ['sessions.resources.work.limits.mem: is not a resource; use cpu, memory, ephemeral-storage'],
  },
  {
    what: 'a volume without a limit',
    values: { sessions: { workspaceSize: '0Gi' } },
    says: ['/sessions/workspaceSize', "'0Gi' does not match pattern"],
  },
  {
    what: 'a volume that the controller would refuse',
    values: { sessions: { spoolSize: '1Mi' } },
    says: ['sessions.spoolSize: 1Mi is too small; it must be at least 64Mi'],
  },
  {
    what: 'volumes that are larger than the containers may fill',
    values: { sessions: { workspaceSize: '20Gi' } },
    says: [
      'sessions.workspaceSize: with spoolSize it is 20Gi + 1Gi, more than the containers may fill (2Gi + 12Gi)',
      'raise sessions.resources.work.limits.ephemeral-storage',
    ],
  },
  {
    what: 'an invalid amount in a quota',
    values: { sessions: { resourceQuota: { 'limits.memory': '4 Gi' } } },
    says: ['/sessions/resourceQuota/limits.memory', "'4 Gi' does not match pattern"],
  },
  {
    what: 'a limit of an unknown kind',
    values: { sessions: { limitRange: [{ type: 'Container', maximum: {} }] } },
    says: ['/sessions/limitRange/0', "'maximum' not allowed"],
  },
  {
    what: 'tolerations that no pod may have',
    values: {
      sessions: {
        tolerations: [
          { operator: 'Equal', value: 'b' },
          { key: 'a', operator: 'Exists', value: 'b' },
          { key: 'a', effect: 'NoSchedule', tolerationSeconds: 60 },
        ],
      },
    },
    says: [
      "'/sessions/tolerations/0': missing property 'key'",
      "'/sessions/tolerations/1/value': value must be ''",
      "'/sessions/tolerations/2/effect': value must be 'NoExecute'",
    ],
  },
  {
    what: 'labels that grant access',
    values: {
      commonLabels: { 'pod-security.kubernetes.io/enforce': 'privileged' },
      controller: { podLabels: { 'cliscale.dev/access-terminals': 'true' } },
    },
    says: [
      "invalid propertyName 'pod-security.kubernetes.io/enforce'",
      "invalid propertyName 'cliscale.dev/access-terminals'",
    ],
  },
  {
    what: 'a host with a scheme, and several hosts in one',
    values: { sessions: { codeHosts: ['https://github.com', 'a.example,b.example'] } },
    says: ["'/sessions/codeHosts/0'", "'/sessions/codeHosts/1'"],
  },
  {
    what: 'invalid networks',
    values: { networkPolicy: { clusterCidrs: ['10.0.0.0/33'], dnsCidrs: ['999.0.0.0/8'] } },
    says: ["'/networkPolicy/clusterCidrs/0'", "'/networkPolicy/dnsCidrs/0'"],
  },
  {
    what: 'no port, which would allow all of them',
    values: { networkPolicy: { apiServerPorts: [] } },
    says: ["'/networkPolicy/apiServerPorts': minItems"],
  },
  {
    what: 'extra egress without a destination, which would allow everything',
    values: { networkPolicy: { extraSessionEgress: [{ ports: [{ port: 443 }] }, { to: [] }, { to: [{}] }] } },
    says: [
      "'/networkPolicy/extraSessionEgress/0': missing property 'to'",
      "'/networkPolicy/extraSessionEgress/1/to': minItems",
      "'/networkPolicy/extraSessionEgress/2/to/0': minProperties",
    ],
  },
  {
    what: 'callers that are not peers of a policy',
    values: { networkPolicy: { httpFrom: [{ cidr: '10.0.0.0/8' }] } },
    says: ['/networkPolicy/httpFrom/0', "'cidr' not allowed", "'ipBlock'"],
  },
  {
    what: 'one login for the gateway and the owner of the tables',
    values: {
      database: { existingSecret: '', cloudSql: { instance: 'p:r:i', user: 'a@p.iam', gatewayUser: 'a@p.iam' } },
    },
    says: ['database.cloudSql.gatewayUser: is the login that owns the tables; the gateway needs its own'],
  },
  {
    what: 'H10 names that begin with a digit',
    values: {},
    release: '1st',
    says: ["release name: names would begin with 1st-cliscale, and a Service's name must begin with a letter"],
  },
  {
    what: 'H10 a name with a dot',
    values: {},
    release: 'cliscale.two',
    says: ['release name: names would begin with cliscale.two', 'set fullnameOverride'],
  },
  {
    what: 'H10 a sessions namespace that is too long',
    values: { sessions: { namespace: '' } },
    namespace: 'n'.repeat(60),
    says: ['sessions.namespace: nnn', 'has 69 characters'],
  },
  {
    what: 'H11 another namespace of the cluster',
    values: { sessions: { namespace: 'kube-node-lease' } },
    says: ['sessions.namespace: kube-node-lease is used by others'],
  },
  {
    what: 'a migration that is deleted before Helm sees its end',
    values: { migration: { ttlSecondsAfterFinished: 0 } },
    says: ['/migration/ttlSecondsAfterFinished', 'got 0, want 60'],
  },
]

/** Unusual, and right. */
const TAKEN: readonly { what: string; values: unknown; release?: string }[] = [
  {
    what: 'a vendor’s device',
    values: { sessions: { resources: { work: { limits: { 'nvidia.com/gpu': 1 } } } } },
  },
  { what: 'one Secret for everything', values: everythingIn('all.cliscale') },
  { what: 'a Secret with a long name', values: { database: { existingSecret: 's'.repeat(200) } } },
  { what: 'a release that YAML takes for a number', values: { fullnameOverride: 'blue' }, release: '2024' },
  { what: 'every host below a name', values: { sessions: { codeHosts: ['.corp.example', 'GitHub.com'] } } },
  { what: 'a toleration of everything', values: { sessions: { tolerations: [{ operator: 'Exists' }] } } },
  {
    what: 'IPv6 networks',
    values: { gateway: { podNetworks: ['fd00::/8'] }, networkPolicy: { clusterCidrs: ['2600:1900::/28'] } },
  },
  {
    what: 'an image with a port, a tag and a digest',
    values: { runner: { image: `r.example:5000/a/b:1@sha256:${'0'.repeat(64)}` } },
  },
]

function everythingIn(existingSecret: string) {
  const one = { existingSecret }
  return { database: one, apiKey: one, dataKey: one, signingKey: one }
}

if (whyNoHelm !== undefined) {
  test('without helm, bad values are not tested', () => {
    console.log(`The chart's refusals are not tried: ${whyNoHelm}.`)
    expect(REFUSALS.length).toBeGreaterThan(30)
  })
} else {
  describe('values that cannot work are refused with where, what and what to do', () => {
    test('the values that each case changes are accepted', () => {
      expect(refusalOf({})).toBeUndefined()
    })

    test.each(REFUSALS)('$what', ({ values, says, ...options }) => {
      const said = refusalOf(values, options) ?? 'nothing'
      for (const part of says) expect(said).toContain(part)
    })

    test.each(TAKEN)('$what is accepted', ({ values, ...options }) => {
      expect(refusalOf(values, options)).toBeUndefined()
    })

    test('all faults are reported at once', () => {
      const said = refusalOf({ image: { tag: '' }, gateway: { drainSeconds: 600 }, database: { existingSecret: '' } })
      expect(said?.match(/^ {2}- /gm)).toHaveLength(3)
    })
  })
}
