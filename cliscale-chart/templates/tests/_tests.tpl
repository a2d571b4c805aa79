{{- /* Pieces of `helm test`. */ -}}

{{- /* Annotations of a hook; everything goes when all tests passed, and before the next try. (list $ weight) */ -}}
{{- define "cliscale.testHook" -}}
helm.sh/hook: test
helm.sh/hook-weight: '{{ index . 1 }}'
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{- /* host:port of a PostgreSQL URL; empty where it can't be told. */ -}}
{{- define "cliscale.testDatabaseAddress" -}}
{{- if .Values.tests.databaseAddress -}}{{ .Values.tests.databaseAddress }}
{{- else if .Values.postgresql.enabled -}}{{ include "cliscale.fullname" . }}-postgresql.{{ .Release.Namespace }}.svc:5432
{{- else if .Values.database.existingSecret -}}
{{- $data := (lookup "v1" "Secret" .Release.Namespace .Values.database.existingSecret).data | default dict -}}
{{- with get $data "DATABASE_URL" | default "" | b64dec | trim -}}
{{- $host := regexReplaceAll "[/?].*$" (regexReplaceAll "^[a-z]+://([^/?]*@)?" . "") "" -}}
{{- if $host -}}{{ ternary $host (printf "%s:5432" $host) (regexMatch ":[0-9]+$" $host) }}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* host:port of the API server itself, behind its Service; empty where it can't be told. */ -}}
{{- define "cliscale.testApiServerAddress" -}}
{{- if .Values.tests.apiServerAddress -}}{{ .Values.tests.apiServerAddress }}
{{- else -}}
{{- with lookup "discovery.k8s.io/v1" "EndpointSlice" "default" "kubernetes" -}}
{{- $ip := first (first .endpoints).addresses -}}
{{- ternary (printf "[%s]" $ip) $ip (contains ":" $ip) }}:{{ int (first .ports).port -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* What a session's pod must not reach, and what it must. */ -}}
{{- define "cliscale.testPlanOfSession" -}}
{{- $fullname := include "cliscale.fullname" . -}}
{{- $ns := .Release.Namespace -}}
{{- $refused := list
  (dict "what" "the Kubernetes API by its Service" "address" "kubernetes.default.svc:443")
  (dict "what" "another session's terminal" "address" (printf "%s-test-listener.%s.svc:7681" $fullname (include "cliscale.sessionsNamespace" .)))
  (dict "what" "the controller's public API by its Service" "address" (printf "%s-controller.%s.svc:80" $fullname $ns))
  (dict "what" "the gateway by its Service" "address" (printf "%s-gateway.%s.svc:80" $fullname $ns))
  (dict "what" "the controller's metrics" "address" (printf "%s-test-controller.%s.svc:9090" $fullname $ns)) -}}
{{- with .Values.tests.metadataAddress -}}{{ $refused = append $refused (dict "what" "the metadata server" "address" .) }}{{- end -}}
{{- with include "cliscale.testApiServerAddress" . -}}{{ $refused = append $refused (dict "what" "the Kubernetes API by its address" "address" .) }}{{- end -}}
{{- with include "cliscale.testDatabaseAddress" . -}}{{ $refused = append $refused (dict "what" "the database" "address" .) }}{{- end -}}
{{- $allowed := list (dict "what" "the controller's internal port, by DNS" "address" (printf "%s-controller.%s.svc:7082" $fullname $ns) "withinMs" 2000) -}}
{{- with .Values.tests.internetAddress -}}{{ $allowed = append $allowed (dict "what" "the internet" "address" . "withinMs" 2000) }}{{- end -}}
{{- toPrettyJson (dict "refused" $refused "allowed" $allowed) -}}
{{- end -}}

{{- /* The spec of a test pod. (list $ "file of the plan" image) */ -}}
{{- define "cliscale.testContainer" -}}
{{- $root := index . 0 -}}
image: {{ include "cliscale.image" (list $root (index . 2)) }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
command: [node, /probe/probe.mjs, /probe/{{ index . 1 }}]
resources:
  requests: { cpu: 50m, memory: 64Mi, ephemeral-storage: 16Mi }
  limits: { cpu: 500m, memory: 192Mi, ephemeral-storage: 64Mi }
{{ include "cliscale.containerSecurity" $root }}
volumeMounts:
  - name: probe
    mountPath: /probe
    readOnly: true
{{- end -}}

{{- define "cliscale.testPodSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
restartPolicy: Never
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- /* Where sessions' pods go. */ -}}
{{- define "cliscale.sessionPlacement" -}}
{{- with .Values.sessions.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .Values.sessions.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.sessions.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.sessions.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}
