{{- /* Every setting of the controller (docs/config.md). */ -}}
{{- define "cliscale.controllerEnv" -}}
{{- $name := printf "%s-controller" (include "cliscale.fullname" .) -}}
- name: CLISCALE_LISTEN_ADDRESS
  value: 0.0.0.0
- name: CLISCALE_PORT
  value: '7080'
- name: CLISCALE_INTERNAL_PORT
  value: '7082'
{{- if .Values.metrics.enabled }}
- name: CLISCALE_METRICS_PORT
  value: '9090'
{{- end }}
{{ include "cliscale.databaseEnv" (list . "main") }}
- name: CLISCALE_DATABASE_POOL_SIZE
  value: {{ int .Values.controller.databasePoolSize | quote }}
- name: CLISCALE_API_KEY_FILE
  value: /etc/cliscale/keys/API_KEY
- name: CLISCALE_DATA_KEY_FILE
  value: /etc/cliscale/keys/DATA_KEY
- name: CLISCALE_SIGNING_KEY_FILE
  value: /etc/cliscale/keys/signing-key.pem
- name: CLISCALE_KUBERNETES_NAMESPACE
  value: {{ include "cliscale.sessionsNamespace" . }}
- name: CLISCALE_INSTANCE
  value: {{ .Release.Name | quote }}
- name: CLISCALE_INTERNAL_URL
  value: http://{{ $name }}.{{ .Release.Namespace }}.svc:7082
- name: CLISCALE_SESSION_TEMPLATE_FILE
  value: /etc/cliscale/sessions/session.json
{{- with include "cliscale.publicUrl" . }}
- name: CLISCALE_PUBLIC_URL
  value: {{ . }}
{{- end }}
- name: CLISCALE_TRUSTED_PROXY_HOPS
  value: {{ include "cliscale.trustedProxyHops" . | quote }}
- name: CLISCALE_SESSIONS_PER_MINUTE
  value: {{ int .Values.sessions.perMinute | quote }}
- name: CLISCALE_MAX_ACTIVE_SESSIONS
  value: {{ int .Values.sessions.maxActive | quote }}
- name: CLISCALE_QUEUE_LIMIT_SECONDS
  value: {{ int .Values.sessions.queueLimitSeconds | quote }}
- name: CLISCALE_RETENTION_HOURS
  value: {{ int .Values.sessions.retentionHours | quote }}
- name: CLISCALE_SESSION_LOG_MAX_BYTES
  value: {{ int64 .Values.sessions.logMaxBytes | quote }}
{{- with .Values.sessions.codeHosts }}
- name: CLISCALE_CODE_HOSTS
  value: {{ join "," . | quote }}
{{- end }}
- name: CLISCALE_REQUIRE_CHECKSUM
  value: {{ .Values.sessions.requireChecksum | quote }}
- name: CLISCALE_DRAIN_SECONDS
  value: {{ int .Values.controller.drainSeconds | quote }}
- name: CLISCALE_LOG_LEVEL
  value: {{ .Values.controller.logLevel }}
{{- include "cliscale.extraEnv" .Values.controller.env }}
{{- end -}}
