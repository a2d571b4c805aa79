{{- /* What every pod of the chart has in common. */ -}}

{{- /* A reference with a tag or digest stands as it is; a bare name gets image.registry and image.tag. (list $ "name") */ -}}
{{- define "cliscale.image" -}}
{{- $image := (index . 0).Values.image -}}
{{- $name := index . 1 -}}
{{- if or (contains "@" $name) (contains ":" (splitList "/" $name | last)) -}}
{{ $name }}
{{- else -}}
{{ with $image.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ $name }}:{{ $image.tag }}
{{- end -}}
{{- end -}}

{{- /* Pod fields. The images' user is 1000; its group may read the mounted Secrets. (list $ "service account" | none) */ -}}
{{- define "cliscale.podSpec" -}}
{{- $root := index . 0 -}}
serviceAccountName: {{ index . 1 }}
automountServiceAccountToken: {{ index . 2 }}
enableServiceLinks: false
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  fsGroup: 1000
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "cliscale.containerSecurity" -}}
securityContext:
  runAsNonRoot: true
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  privileged: false
  capabilities:
    drop: [ALL]
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- /* Where the replicas of a component go: apart, as far as there is room. (list $ "component" values) */ -}}
{{- define "cliscale.placement" -}}
{{- $root := index . 0 -}}
{{- $values := index . 2 -}}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "cliscale.selectorLabels" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* Liveness never asks the database; readiness does. */ -}}
{{- define "cliscale.probes" -}}
startupProbe:
  httpGet: { path: /healthz, port: http }
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: { path: /healthz, port: http }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: { path: /readyz, port: http }
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- end -}}

{{- /* Settings given as a map, as env entries. */ -}}
{{- define "cliscale.extraEnv" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{- define "cliscale.trustedProxyHops" -}}
{{- $ingress := .Values.ingress -}}
{{- if kindIs "invalid" $ingress.trustedProxyHops -}}
{{ ternary (ternary 2 1 $ingress.gce.enabled) 0 $ingress.enabled }}
{{- else -}}
{{ int $ingress.trustedProxyHops }}
{{- end -}}
{{- end -}}

{{- define "cliscale.hasTls" -}}
{{- with .Values.ingress.tls }}{{ if or .existingSecret .certManagerClusterIssuer .managedCertificate }}true{{ end }}{{ end -}}
{{- end -}}

{{- define "cliscale.publicUrl" -}}
{{- if .Values.publicUrl -}}{{ .Values.publicUrl }}
{{- else if and .Values.ingress.enabled .Values.ingress.hostname -}}
{{ ternary "https" "http" (eq (include "cliscale.hasTls" .) "true") }}://{{ .Values.ingress.hostname }}
{{- end -}}
{{- end -}}
