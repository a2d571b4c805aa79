/** The part of a pod's spec that pod security is about; whatever else is in it does no harm. */
export interface PodShape {
  readonly metadata?: { readonly annotations?: Readonly<Record<string, string>> }
  readonly spec: PodSpecShape
}

export interface PodSpecShape {
  readonly hostNetwork?: boolean
  readonly hostPID?: boolean
  readonly hostIPC?: boolean
  readonly securityContext?: SecurityShape & { readonly sysctls?: readonly { readonly name: string }[] }
  readonly volumes?: readonly Readonly<Record<string, unknown>>[]
  readonly initContainers?: readonly ContainerShape[]
  readonly containers: readonly ContainerShape[]
  readonly ephemeralContainers?: readonly ContainerShape[]
}

interface ContainerShape {
  readonly name: string
  readonly ports?: readonly { readonly hostPort?: number }[]
  readonly securityContext?: SecurityShape & {
    readonly privileged?: boolean
    readonly allowPrivilegeEscalation?: boolean
    readonly procMount?: string
    readonly capabilities?: { readonly add?: readonly string[]; readonly drop?: readonly string[] }
  }
}

interface SecurityShape {
  readonly runAsNonRoot?: boolean
  readonly runAsUser?: number
  readonly seccompProfile?: { readonly type?: string }
  readonly appArmorProfile?: { readonly type?: string }
  readonly seLinuxOptions?: { readonly type?: string; readonly user?: string; readonly role?: string }
  readonly windowsOptions?: { readonly hostProcess?: boolean }
}

export interface PodSecurityFinding {
  readonly rule: PodSecurityRule
  /** `pod`, or the name of a container or volume. */
  readonly where: string
}

type Check = (pod: PodShape) => readonly string[]

const CAPABILITIES = new Set(
  'AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT'.split(
    ' ',
  ),
)
const SYSCTLS = new Set([
  'kernel.shm_rmid_forced',
  'net.ipv4.ip_local_port_range',
  'net.ipv4.ip_unprivileged_port_start',
  'net.ipv4.tcp_syncookies',
  'net.ipv4.ping_group_range',
  'net.ipv4.ip_local_reserved_ports',
  'net.ipv4.tcp_keepalive_time',
  'net.ipv4.tcp_fin_timeout',
  'net.ipv4.tcp_keepalive_intvl',
  'net.ipv4.tcp_keepalive_probes',
  'net.ipv4.tcp_rmem',
  'net.ipv4.tcp_wmem',
])
const SELINUX_TYPES = new Set(['', 'container_t', 'container_init_t', 'container_kvm_t', 'container_engine_t'])
const VOLUMES = [
  'configMap',
  'csi',
  'downwardAPI',
  'emptyDir',
  'ephemeral',
  'persistentVolumeClaim',
  'projected',
  'secret',
]

/**
 * The controls of the Pod Security Standards (kubernetes.io/docs/concepts/security/pod-security-standards), but for the one
 * that v1.34 added: that probes and hooks name no host.
 */
const CHECKS = {
  'baseline/host-process': eachSecurity((security) => security.windowsOptions?.hostProcess === true),
  'baseline/host-namespaces': ({ spec }) => (spec.hostNetwork || spec.hostPID || spec.hostIPC ? ['pod'] : []),
  'baseline/privileged': eachContainer((container) => container.securityContext?.privileged === true),
  'baseline/capabilities': eachContainer((container) =>
    (container.securityContext?.capabilities?.add ?? []).some((name) => !CAPABILITIES.has(name)),
  ),
  'baseline/host-path': eachVolume((volume) => 'hostPath' in volume),
  'baseline/host-ports': eachContainer((container) => (container.ports ?? []).some((port) => port.hostPort)),
  'baseline/app-armor': (pod) => [
    ...eachSecurity((security) => security.appArmorProfile?.type === 'Unconfined')(pod),
    ...Object.entries(pod.metadata?.annotations ?? {})
      .filter(([key]) => key.startsWith('container.apparmor.security.beta.kubernetes.io/'))
      .filter(([, value]) => value !== 'runtime/default' && !value.startsWith('localhost/'))
      .map(() => 'pod'),
  ],
  'baseline/se-linux': eachSecurity(
    ({ seLinuxOptions: options }) =>
      options !== undefined && (!SELINUX_TYPES.has(options.type ?? '') || !!options.user || !!options.role),
  ),
  'baseline/proc-mount': eachContainer(
    (container) => (container.securityContext?.procMount ?? 'Default') !== 'Default',
  ),
  'baseline/seccomp': eachSecurity((security) => security.seccompProfile?.type === 'Unconfined'),
  'baseline/sysctls': ({ spec }) =>
    (spec.securityContext?.sysctls ?? []).some(({ name }) => !SYSCTLS.has(name)) ? ['pod'] : [],
  'restricted/volume-types': eachVolume((volume) => !VOLUMES.some((type) => type in volume)),
  'restricted/privilege-escalation': eachContainer(
    (container) => container.securityContext?.allowPrivilegeEscalation !== false,
  ),
  'restricted/run-as-non-root': eachContainer(
    (container, { spec }) => (container.securityContext?.runAsNonRoot ?? spec.securityContext?.runAsNonRoot) !== true,
  ),
  'restricted/run-as-user': eachSecurity((security) => security.runAsUser === 0),
  'restricted/seccomp': eachContainer(
    (container, { spec }) =>
      !['RuntimeDefault', 'Localhost'].includes(
        (container.securityContext?.seccompProfile ?? spec.securityContext?.seccompProfile)?.type ?? '',
      ),
  ),
  'restricted/capabilities': eachContainer(({ securityContext: security }) => {
    const { add = [], drop = [] } = security?.capabilities ?? {}
    return !drop.includes('ALL') || add.some((name) => name !== 'NET_BIND_SERVICE')
  }),
} satisfies Record<string, Check>

export type PodSecurityRule = keyof typeof CHECKS

export const POD_SECURITY_RULES = Object.keys(CHECKS) as readonly PodSecurityRule[]

/** What a namespace of the level `restricted` would refuse a pod for, by all 17 controls; empty when nothing. */
export function podSecurityFindings(pod: PodShape): PodSecurityFinding[] {
  return POD_SECURITY_RULES.flatMap((rule) => CHECKS[rule](pod).map((where) => ({ rule, where })))
}

function containersOf({ spec }: PodShape): readonly ContainerShape[] {
  return [...(spec.initContainers ?? []), ...spec.containers, ...(spec.ephemeralContainers ?? [])]
}

function eachContainer(isBad: (container: ContainerShape, pod: PodShape) => boolean | number | undefined): Check {
  return (pod) =>
    containersOf(pod)
      .filter((container) => isBad(container, pod))
      .map(({ name }) => name)
}

function eachSecurity(isBad: (security: SecurityShape) => boolean): Check {
  return (pod) => [
    ...(pod.spec.securityContext && isBad(pod.spec.securityContext) ? ['pod'] : []),
    ...eachContainer(({ securityContext }) => securityContext && isBad(securityContext))(pod),
  ]
}

function eachVolume(isBad: (volume: Readonly<Record<string, unknown>>) => boolean): Check {
  return ({ spec }) => (spec.volumes ?? []).filter(isBad).map((volume) => String(volume['name']))
}
