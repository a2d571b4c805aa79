{{- /* Every setting of the gateway (docs/config.md). */ -}}
{{- define "cliscale.gatewayEnv" -}}
- name: CLISCALE_LISTEN_ADDRESS
  value: 0.0.0.0
- name: CLISCALE_PORT
  value: '7081'
{{- if .Values.metrics.enabled }}
- name: CLISCALE_METRICS_PORT
  value: '9090'
{{- end }}
{{ include "cliscale.databaseEnv" (list . "gateway") }}
- name: CLISCALE_DATABASE_POOL_SIZE
  value: {{ int .Values.gateway.databasePoolSize | quote }}
- name: CLISCALE_JWKS_URL
  value: http://{{ include "cliscale.fullname" . }}-controller.{{ .Release.Namespace }}.svc/.well-known/jwks.json
{{- with .Values.gateway.podNetworks }}
- name: CLISCALE_POD_NETWORKS
  value: {{ join "," . | quote }}
{{- end }}
{{- with include "cliscale.publicUrl" . }}
- name: CLISCALE_PUBLIC_URL
  value: {{ . }}
{{- end }}
- name: CLISCALE_TRUSTED_PROXY_HOPS
  value: {{ include "cliscale.trustedProxyHops" . | quote }}
- name: CLISCALE_DRAIN_SECONDS
  value: {{ int .Values.gateway.drainSeconds | quote }}
- name: CLISCALE_LOG_LEVEL
  value: {{ .Values.gateway.logLevel }}
{{- include "cliscale.extraEnv" .Values.gateway.env }}
{{- end -}}
