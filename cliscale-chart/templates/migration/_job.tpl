{{- /* The pod that brings the database up to date: a hook, or with a trial PostgreSQL an ordinary Job. */ -}}
{{- define "cliscale.migrationJobSpec" -}}
backoffLimit: 2
activeDeadlineSeconds: {{ int .Values.migration.activeDeadlineSeconds }}
ttlSecondsAfterFinished: {{ int .Values.migration.ttlSecondsAfterFinished }}
template:
  metadata:
    labels:
      {{- include "cliscale.podLabels" (list . "migration" dict) | nindent 6 }}
  spec:
    {{- include "cliscale.podSpec" (list . (printf "%s-migration" (include "cliscale.fullname" .)) false) | nindent 4 }}
    restartPolicy: Never
    {{- $needsSecrets := include "cliscale.foreignSecrets" . | fromJsonArray }}
    {{- if or $needsSecrets .Values.database.cloudSql.instance .Values.postgresql.enabled }}
    initContainers:
      {{- if $needsSecrets }}
      {{- include "cliscale.preflight" . | nindent 6 }}
      {{- end }}
      {{- if .Values.database.cloudSql.instance }}
      {{- include "cliscale.cloudSqlProxy" (list . "main") | nindent 6 }}
      {{- end }}
      {{- if .Values.postgresql.enabled }}
      - name: wait-for-database
        {{- include "cliscale.migrateContainer" (list . "wait" "database") | nindent 8 }}
      {{- end }}
    {{- end }}
    containers:
      - name: migration
        {{- include "cliscale.migrateContainer" (list . "latest") | nindent 8 }}
    {{- with printf "%s\n%s" (include "cliscale.preflightVolume" .) (include "cliscale.databaseVolume" (list . "main" "optional")) | trim }}
    volumes:
      {{- . | nindent 6 }}
    {{- end }}
{{- end -}}

{{- /* The migration program with its arguments. (list $ "argument"…) */ -}}
{{- define "cliscale.migrateContainer" -}}
{{- $root := index . 0 -}}
image: {{ include "cliscale.image" (list $root $root.Values.controller.image) }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
command: {{ concat (list "node" "controller/dist/db/migrate-cli.js") (rest .) | toJson }}
env:
  {{- include "cliscale.databaseEnv" (list $root "main") | nindent 2 }}
  {{- with $root.Values.database.cloudSql }}
  {{- if .instance }}
  # Made a member of the role cliscale_gateway, which nobody else sees to there.
  - name: CLISCALE_GATEWAY_DATABASE_USER
    value: {{ .gatewayUser | quote }}
  {{- end }}
  {{- end }}
resources:
  {{- toYaml $root.Values.migration.resources | nindent 2 }}
{{ include "cliscale.containerSecurity" $root }}
{{- with include "cliscale.databaseMount" (list $root "main") }}
volumeMounts:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* Secrets that have to be there before the release, as JSON: [{secret, keys, value}]. */ -}}
{{- define "cliscale.foreignSecrets" -}}
{{- $keys := dict
  "database" (list "DATABASE_URL" "GATEWAY_DATABASE_URL")
  "apiKey" (list "API_KEY")
  "dataKey" (list "DATA_KEY")
  "signingKey" (list "signing-key.pem") -}}
{{- $secrets := list -}}
{{- range $name := list "database" "apiKey" "dataKey" "signingKey" -}}
{{- with (index $.Values $name).existingSecret -}}
{{- $secrets = append $secrets (dict "secret" . "keys" (get $keys $name) "value" (printf "%s.existingSecret" $name)) -}}
{{- end -}}
{{- end -}}
{{- toJson $secrets -}}
{{- end -}}

{{- /* Says which Secret or key is missing and how to make it, where the kubelet would say nothing and wait. */ -}}
{{- define "cliscale.preflight" -}}
- name: preflight
  image: {{ include "cliscale.image" (list . .Values.controller.image) }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [node, -e]
  args:
    - |
      {{- .Files.Get "files/preflight.cjs" | trim | nindent 6 }}
  env:
    - name: SECRETS
      value: {{ include "cliscale.foreignSecrets" . | quote }}
    - name: NAMESPACE
      value: {{ .Release.Namespace }}
  resources:
    {{- toYaml .Values.migration.resources | nindent 4 }}
  {{- include "cliscale.containerSecurity" . | nindent 2 }}
  volumeMounts:
    - name: preflight
      mountPath: /preflight
      readOnly: true
{{- end -}}

{{- /* Each key as <Secret>/<key>, one that is missing left out; one volume, because one Secret may hold several keys. */ -}}
{{- define "cliscale.preflightVolume" -}}
{{- with include "cliscale.foreignSecrets" . | fromJsonArray }}
- name: preflight
  projected:
    defaultMode: 0440
    sources:
      {{- range $foreign := . }}
      - secret:
          name: {{ .secret }}
          optional: true
          items:
            {{- range .keys }}
            - { key: {{ . }}, path: {{ $foreign.secret }}/{{ . }} }
            {{- end }}
      {{- end }}
{{- end }}
{{- end -}}
