{{- /* How a pod reaches the database. Each helper takes (list $ "main" | "gateway"); the volume also
       "optional", for a pod that says by itself that the Secret is missing. */ -}}

{{- define "cliscale.databaseKey" -}}
{{ ternary "GATEWAY_DATABASE_URL" "DATABASE_URL" (eq (index . 1) "gateway") }}
{{- end -}}

{{- define "cliscale.databaseEnv" -}}
{{- $root := index . 0 -}}
{{- $sql := $root.Values.database.cloudSql -}}
{{- if $sql.instance -}}
{{- $user := ternary $sql.gatewayUser $sql.user (eq (index . 1) "gateway") -}}
- name: CLISCALE_DATABASE_URL
  # Without a password: the proxy logs in by IAM, and encrypts.
  value: {{ printf "postgres://%s@127.0.0.1:5432/%s?sslmode=disable" (urlquery $user) $sql.database | quote }}
{{- else -}}
- name: CLISCALE_DATABASE_URL_FILE
  value: /etc/cliscale/database/{{ include "cliscale.databaseKey" . }}
{{- end }}
{{- end -}}

{{- define "cliscale.databaseMount" -}}
{{- if not (index . 0).Values.database.cloudSql.instance -}}
- name: database
  mountPath: /etc/cliscale/database
  readOnly: true
{{- end }}
{{- end -}}

{{- define "cliscale.databaseVolume" -}}
{{- $root := index . 0 -}}
{{- if not $root.Values.database.cloudSql.instance -}}
- name: database
  secret:
    secretName: {{ include "cliscale.databaseSecret" $root }}
    defaultMode: 0440
    {{- if gt (len .) 2 }}
    optional: true
    {{- end }}
    items:
      - key: {{ include "cliscale.databaseKey" . }}
        path: {{ include "cliscale.databaseKey" . }}
{{- end }}
{{- end -}}

{{- /* The Cloud SQL proxy as a native sidecar: it starts before the others, and does not keep a Job from ending. */ -}}
{{- define "cliscale.cloudSqlProxy" -}}
{{- $root := index . 0 -}}
{{- $sql := $root.Values.database.cloudSql -}}
- name: cloud-sql-proxy
  image: {{ $sql.image }}
  imagePullPolicy: {{ $root.Values.image.pullPolicy }}
  restartPolicy: Always
  args:
    - --structured-logs
    - --auto-iam-authn
    {{- if $sql.privateIp }}
    - --private-ip
    {{- end }}
    - --port=5432
    - --health-check
    - --http-address=0.0.0.0
    - --http-port=9801
    - --exit-zero-on-sigterm
    - {{ $sql.instance }}
  ports:
    - name: proxy-health
      containerPort: 9801
  startupProbe:
    httpGet: { path: /startup, port: proxy-health }
    periodSeconds: 1
    timeoutSeconds: 5
    failureThreshold: 60
  livenessProbe:
    httpGet: { path: /liveness, port: proxy-health }
    periodSeconds: 10
    timeoutSeconds: 5
  resources:
    {{- toYaml $sql.resources | nindent 4 }}
  {{- include "cliscale.containerSecurity" . | nindent 2 }}
{{- end -}}
