import { describe, expect, test } from '@jest/globals'
import { POD_SECURITY_RULES, podSecurityFindings, type PodShape, type PodSecurityRule } from './pod-security.ts'

const security = {
  runAsNonRoot: true,
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
}
const good: PodShape = {
  spec: { containers: [{ name: 'main', securityContext: security }], volumes: [{ name: 'tmp', emptyDir: {} }] },
}
const container = (change: object, rest: object = {}): PodShape => ({
  spec: { containers: [{ name: 'main', securityContext: { ...security, ...change }, ...rest }] },
})
const pod = (spec: object): PodShape => ({ spec: { ...good.spec, ...spec } })

/** One pod for each rule that breaks it; some break a stricter rule as well. */
const BROKEN: Record<PodSecurityRule, PodShape[]> = {
  'baseline/host-process': [pod({ securityContext: { windowsOptions: { hostProcess: true } } })],
  'baseline/host-namespaces': [pod({ hostNetwork: true }), pod({ hostPID: true }), pod({ hostIPC: true })],
  'baseline/privileged': [container({ privileged: true })],
  'baseline/capabilities': [container({ capabilities: { drop: ['ALL'], add: ['SYS_ADMIN'] } })],
  'baseline/host-path': [pod({ volumes: [{ name: 'etc', hostPath: { path: '/etc' } }] })],
  'baseline/host-ports': [container({}, { ports: [{ containerPort: 80, hostPort: 80 }] })],
  'baseline/app-armor': [
    container({ appArmorProfile: { type: 'Unconfined' } }),
    { ...good, metadata: { annotations: { 'container.apparmor.security.beta.kubernetes.io/main': 'unconfined' } } },
  ],
  'baseline/se-linux': [
    container({ seLinuxOptions: { type: 'spc_t' } }),
    container({ seLinuxOptions: { user: 'root' } }),
    pod({ securityContext: { seLinuxOptions: { role: 'sysadm_r' } } }),
  ],
  'baseline/proc-mount': [container({ procMount: 'Unmasked' })],
  'baseline/seccomp': [container({ seccompProfile: { type: 'Unconfined' } })],
  'baseline/sysctls': [pod({ securityContext: { sysctls: [{ name: 'kernel.msgmax' }] } })],
  'restricted/volume-types': [pod({ volumes: [{ name: 'disk', nfs: { server: 'a' } }] })],
  'restricted/privilege-escalation': [
    container({ allowPrivilegeEscalation: true }),
    container({ allowPrivilegeEscalation: undefined }),
  ],
  'restricted/run-as-non-root': [container({ runAsNonRoot: undefined }), container({ runAsNonRoot: false })],
  'restricted/run-as-user': [container({ runAsUser: 0 }), pod({ securityContext: { runAsUser: 0 } })],
  'restricted/seccomp': [container({ seccompProfile: undefined })],
  'restricted/capabilities': [
    container({ capabilities: {} }),
    container({ capabilities: { drop: ['ALL'], add: ['CHOWN'] } }),
  ],
}

describe('the 17 controls of restricted pod security', () => {
  test('are 17, and find nothing wrong with a good pod', () => {
    expect(POD_SECURITY_RULES).toHaveLength(17)
    expect(podSecurityFindings(good)).toEqual([])
  })

  test('read the pod’s setting for a container without its own, and the container’s own otherwise', () => {
    const { runAsNonRoot, seccompProfile, ...rest } = security
    const inherited = (own: object) => ({
      spec: {
        securityContext: { runAsNonRoot, seccompProfile },
        containers: [{ name: 'main', securityContext: { ...rest, ...own } }],
      },
    })
    expect(podSecurityFindings(inherited({}))).toEqual([])
    expect(podSecurityFindings(inherited({ runAsNonRoot: false }))).toEqual([
      { rule: 'restricted/run-as-non-root', where: 'main' },
    ])
  })

  test.each(POD_SECURITY_RULES)('find a violation of %s, also in init and ephemeral containers', (rule) => {
    for (const broken of BROKEN[rule]) {
      expect(podSecurityFindings(broken).map((finding) => finding.rule)).toContain(rule)
      const [main] = broken.spec.containers
      const elsewhere = {
        ...broken,
        spec: { ...broken.spec, containers: good.spec.containers, initContainers: [{ ...main!, name: 'first' }] },
      }
      expect(podSecurityFindings(elsewhere).map((finding) => finding.rule)).toContain(rule)
    }
  })
})
