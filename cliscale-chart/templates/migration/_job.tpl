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
        image: {{ include "cliscale.image" (list . .Values.controller.image) }}
        imagePullPolicy: {{ .Values.image.pullPolicy }}
        command: [node, controller/dist/db/migrate-cli.js, latest]
        env:
          {{- include "cliscale.databaseEnv" (list . "main") | nindent 10 }}
          {{- if .Values.database.cloudSql.instance }}
          # Made a member of the role cliscale_gateway, which nobody else sees to there.
          - name: CLISCALE_GATEWAY_DATABASE_USER
            value: {{ .Values.database.cloudSql.gatewayUser | quote }}
          {{- end }}
        resources:
          {{- toYaml .Values.migration.resources | nindent 10 }}
        {{- include "cliscale.containerSecurity" . | nindent 8 }}
        {{- with include "cliscale.databaseMount" (list . "main") }}
        volumeMounts:
          {{- . | nindent 10 }}
        {{- end }}
    {{- with printf "%s\n%s" (include "cliscale.preflightVolumes" .) (include "cliscale.databaseVolume" (list . "main" "optional")) | trim }}
    volumes:
      {{- . | nindent 6 }}
    {{- end }}
{{- end -}}

{{- /* The migration program with its arguments. (list $ "argument"…) */ -}}
{{- define "cliscale.migrateContainer" -}}
{{- $root := index . 0 -}}
{{- $isLatest := has "latest" (rest .) -}}
image: {{ include "cliscale.image" (list $root $root.Values.controller.image) }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
command: {{ concat (list "node" "controller/dist/db/migrate-cli.js") (rest .) | toJson }}
env:
  {{- include "cliscale.databaseEnv" (list $root "main") | nindent 2 }}
  {{- with $root.Values.database.cloudSql }}
  {{- if and .instance $isLatest }}
  # An IAM user can't be made a member of a role before it is there.
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
{{- $secrets := list -}}
{{- with .Values.database.existingSecret -}}
{{- $secrets = append $secrets (dict "secret" . "keys" (list "DATABASE_URL" "GATEWAY_DATABASE_URL") "value" "database.existingSecret") -}}
{{- end -}}
{{- with .Values.apiKey.existingSecret -}}
{{- $secrets = append $secrets (dict "secret" . "keys" (list "API_KEY") "value" "apiKey.existingSecret") -}}
{{- end -}}
{{- with .Values.dataKey.existingSecret -}}
{{- $secrets = append $secrets (dict "secret" . "keys" (list "DATA_KEY") "value" "dataKey.existingSecret") -}}
{{- end -}}
{{- with .Values.signingKey.existingSecret -}}
{{- $secrets = append $secrets (dict "secret" . "keys" (list "signing-key.pem") "value" "signingKey.existingSecret") -}}
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
  {{- with include "cliscale.foreignSecrets" . | fromJsonArray }}
  volumeMounts:
    {{- range . }}
    - name: preflight-{{ .secret }}
      mountPath: /preflight/{{ .secret }}
      readOnly: true
    {{- end }}
  {{- end }}
{{- end -}}

{{- define "cliscale.preflightVolumes" -}}
{{- range include "cliscale.foreignSecrets" . | fromJsonArray }}
- name: preflight-{{ .secret }}
  secret:
    secretName: {{ .secret }}
    optional: true
    defaultMode: 0440
{{- end }}
{{- end -}}
