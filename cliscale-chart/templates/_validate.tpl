{{- /* What a JSON schema can't say, or could not explain. Each check prints lines "path: what is wrong; what to do". */ -}}

{{- define "cliscale.faults" -}}
{{- include "cliscale.faultsOfNames" . }}
{{- include "cliscale.faultsOfImages" . }}
{{- include "cliscale.faultsOfDatabase" . }}
{{- include "cliscale.faultsOfKeys" . }}
{{- include "cliscale.faultsOfIngress" . }}
{{- include "cliscale.faultsOfResources" . }}
{{- include "cliscale.faultsOfSettings" . }}
{{- end -}}

{{- define "cliscale.faultsOfNames" -}}
{{- $fullname := include "cliscale.fullname" . -}}
{{- if gt (len $fullname) 33 }}
release name: names would begin with {{ $fullname }}, which has {{ len $fullname }} characters, and a CronJob's name may have at most 52; set fullnameOverride to at most 33 characters.
{{- end }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $fullname) }}
release name: names would begin with {{ $fullname }}, and a Service's name must begin with a letter and contain only lower-case letters, digits and hyphens; set fullnameOverride.
{{- end }}
{{- $sessions := include "cliscale.sessionsNamespace" . -}}
{{- if gt (len $sessions) 63 }}
sessions.namespace: {{ $sessions }} has {{ len $sessions }} characters, and a namespace's name may have at most 63; choose a shorter one.
{{- end }}
{{- if eq $sessions .Release.Namespace }}
sessions.namespace: {{ .Release.Namespace }} is the release's own namespace, where the keys are; choose another one, or leave it empty for {{ .Release.Namespace }}-sessions.
{{- end }}
{{- if or (eq $sessions "default") (hasPrefix "kube-" $sessions) }}
sessions.namespace: {{ $sessions }} is used by others; sessions need their own namespace.
{{- end }}
{{- end -}}

{{- define "cliscale.faultsOfImages" -}}
{{- $images := dict "controller.image" .Values.controller.image "gateway.image" .Values.gateway.image "runner.image" .Values.runner.image -}}
{{- if .Values.postgresql.enabled }}{{ $_ := set $images "postgresql.image" .Values.postgresql.image }}{{ end -}}
{{- if .Values.database.cloudSql.instance }}{{ $_ := set $images "database.cloudSql.image" .Values.database.cloudSql.image }}{{ end -}}
{{- range $name, $image := .Values.sessions.images }}{{ $_ := set $images (printf "sessions.images.%s.image" $name) $image.image }}{{ end -}}
{{- $usesTag := false -}}
{{- range $path, $image := $images }}
{{- $last := splitList "/" $image | last }}
{{- if not (or (contains "@" $image) (contains ":" $last)) }}{{ $usesTag = true }}{{ end }}
{{- if and (hasSuffix ":latest" $last) (not (contains "@" $image)) }}
{{ $path }}: {{ $image }} changes all the time; name a version, such as {{ trimSuffix ":latest" $image }}:1.2.3, or a digest.
{{- end }}
{{- if and (regexMatch "^(database|postgresql|sessions)" $path) (not (or (contains "@" $image) (contains ":" $last))) }}
{{ $path }}: {{ $image }} has no tag, and image.tag does not apply to it; name a version or a digest.
{{- end }}
{{- end }}
{{- $tag := toString .Values.image.tag -}}
{{- if and $usesTag (eq $tag "") }}
image.tag: is empty; name the version to install, such as {{ .Chart.AppVersion }}.
{{- end }}
{{- if and $usesTag (eq $tag "latest") }}
image.tag: latest changes all the time, and an upgrade could not tell images apart; name a version, such as {{ .Chart.AppVersion }}.
{{- end }}
{{- end -}}

{{- define "cliscale.faultsOfDatabase" -}}
{{- $given := list -}}
{{- if .Values.database.existingSecret }}{{ $given = append $given "database.existingSecret" }}{{ end -}}
{{- if .Values.database.cloudSql.instance }}{{ $given = append $given "database.cloudSql.instance" }}{{ end -}}
{{- if .Values.postgresql.enabled }}{{ $given = append $given "postgresql.enabled" }}{{ end -}}
{{- if eq (len $given) 0 }}
database: none is named; set one of database.existingSecret (a Secret with DATABASE_URL and GATEWAY_DATABASE_URL), database.cloudSql.instance, or, for trial use, postgresql.enabled=true.
{{- else if gt (len $given) 1 }}
database: {{ join " and " $given }} are set; keep one.
{{- end }}
{{- with .Values.database.cloudSql }}
{{- if .instance }}
{{- if and .user (eq .user .gatewayUser) }}
database.cloudSql.gatewayUser: is the login that owns the tables; the gateway needs its own, which may not read work orders.
{{- end }}
{{- range $key := list "user" "gatewayUser" }}
{{- if not (index $.Values.database.cloudSql $key) }}
database.cloudSql.{{ $key }}: is empty; name the IAM user, a service account's e-mail without .gserviceaccount.com, such as cliscale-{{ ternary "gateway" "controller" (eq $key "gatewayUser") }}@my-project.iam.
{{- else if hasSuffix ".gserviceaccount.com" (index $.Values.database.cloudSql $key) }}
database.cloudSql.{{ $key }}: PostgreSQL knows the service account without .gserviceaccount.com; write {{ trimSuffix ".gserviceaccount.com" (index $.Values.database.cloudSql $key) }}.
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "cliscale.faultsOfKeys" -}}
{{- if and .Values.apiKey.value .Values.apiKey.existingSecret }}
apiKey: value and existingSecret are both set; keep one.
{{- end }}
{{- if and .Values.dataKey.value .Values.dataKey.existingSecret }}
dataKey: value and existingSecret are both set; keep one.
{{- end }}
{{- if and .Values.dataKey.value (not (regexMatch "^([A-Za-z0-9+/]{43}=|[0-9a-fA-F]{64})$" .Values.dataKey.value)) }}
dataKey.value: is not 32 bytes as base64 or as 64 hexadecimal digits; make one with: openssl rand -base64 32
{{- end }}
{{- if and .Values.signingKey.pem .Values.signingKey.existingSecret }}
signingKey: pem and existingSecret are both set; keep one.
{{- end }}
{{- if and .Values.signingKey.pem (not (regexMatch "-----BEGIN (RSA )?PRIVATE KEY-----" .Values.signingKey.pem)) }}
signingKey.pem: contains no RSA private key in PEM; make one with: openssl genrsa 2048
{{- end }}
{{- end -}}

{{- define "cliscale.faultsOfIngress" -}}
{{- $ingress := .Values.ingress -}}
{{- $tls := list -}}
{{- range list "existingSecret" "certManagerClusterIssuer" "managedCertificate" }}
{{- if index $ingress.tls . }}{{ $tls = append $tls (printf "ingress.tls.%s" .) }}{{ end -}}
{{- end -}}
{{- if $ingress.enabled }}
{{- if and (not $ingress.insecureHttp) (not $ingress.hostname) }}
ingress.hostname: is empty and ingress.insecureHttp is false, so nothing could be served; name a host that you own, or allow plain http with ingress.insecureHttp=true for trial use.
{{- else if and (not $ingress.insecureHttp) (eq (len $tls) 0) }}
ingress.tls: nothing is set and ingress.insecureHttp is false; set one of ingress.tls.existingSecret, ingress.tls.certManagerClusterIssuer or, on GKE, ingress.tls.managedCertificate.
{{- end }}
{{- if and $tls (not $ingress.hostname) }}
ingress.hostname: is empty, but {{ join " and " $tls }} needs one, because a certificate is issued for a name.
{{- end }}
{{- if gt (len $tls) 1 }}
ingress.tls: {{ join " and " $tls }} are set; keep one.
{{- end }}
{{- if and $ingress.tls.managedCertificate (not $ingress.gce.enabled) }}
ingress.tls.managedCertificate: works only with GKE's load balancer; set ingress.gce.enabled=true, or use ingress.tls.certManagerClusterIssuer.
{{- end }}
{{- if and $ingress.gce.enabled $ingress.className }}
ingress.className: GKE's load balancer has no class; leave it empty with ingress.gce.enabled.
{{- end }}
{{- end }}
{{- end -}}

{{- /* Requests, limits and units of every container of ours. */ -}}
{{- define "cliscale.faultsOfResources" -}}
{{- $all := dict
  "controller.resources" .Values.controller.resources
  "gateway.resources" .Values.gateway.resources
  "sessions.resources.host" .Values.sessions.resources.host
  "sessions.resources.work" .Values.sessions.resources.work
  "migration.resources" .Values.migration.resources
  "database.cloudSql.resources" .Values.database.cloudSql.resources
  "postgresql.resources" .Values.postgresql.resources
  "signingKey.rotation.resources" .Values.signingKey.rotation.resources -}}
{{- range $path, $resources := $all }}
{{- range $part := list "requests" "limits" }}
{{- $amounts := index $resources $part }}
{{- range $name := list "cpu" "memory" }}
{{- if not (hasKey $amounts $name) }}
{{ $path }}.{{ $part }}.{{ $name }}: is missing; every container needs requests and limits for cpu and memory.
{{- end }}
{{- end }}
{{- range $name, $amount := $amounts }}
{{- $text := toString $amount }}
{{- $isBytes := has $name (list "memory" "ephemeral-storage") }}
{{- if not (or $isBytes (eq $name "cpu") (contains "/" $name)) }}
{{ $path }}.{{ $part }}.{{ $name }}: is not a resource; use cpu, memory, ephemeral-storage, or a vendor's resource, such as nvidia.com/gpu.
{{- end }}
{{- if not (regexMatch "^[0-9]+(\\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$" $text) }}
{{ $path }}.{{ $part }}.{{ $name }}: {{ $text }} is not an amount; write {{ ternary "500m or 2" "512Mi or 2Gi" (eq $name "cpu") }}.
{{- else if and $isBytes (or (hasSuffix "m" $text) (and (regexMatch "^[0-9.]+$" $text) (lt (float64 $text) 4194304.0))) }}
{{ $path }}.{{ $part }}.{{ $name }}: {{ $text }} is too small, because it is a number of bytes; add the unit, as in {{ trimSuffix "m" $text }}Mi.
{{- else if hasKey $resources.limits $name }}
{{- $limit := index $resources.limits $name }}
{{- if and (eq $part "requests") (gt (include "cliscale.amount" $amount | float64) (include "cliscale.amount" $limit | float64)) }}
{{ $path }}.requests.{{ $name }}: {{ $text }} is more than the limit {{ $limit }}; raise {{ $path }}.limits.{{ $name }} or lower the request.
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- include "cliscale.faultsOfVolumes" . }}
{{- end -}}

{{- /* A session's volumes: no smaller than the controller takes them, no larger than its containers may fill. */ -}}
{{- define "cliscale.faultsOfVolumes" -}}
{{- $sessions := .Values.sessions -}}
{{- range $name, $least := dict "workspaceSize" "16Mi" "spoolSize" "64Mi" }}
{{- if lt (include "cliscale.amount" (index $sessions $name) | float64) (include "cliscale.amount" $least | float64) }}
sessions.{{ $name }}: {{ index $sessions $name }} is too small; it must be at least {{ $least }}.
{{- end }}
{{- end }}
{{- $host := index $sessions.resources.host.limits "ephemeral-storage" -}}
{{- $work := index $sessions.resources.work.limits "ephemeral-storage" -}}
{{- if and $host $work }}
{{- $room := addf (include "cliscale.amount" $host | float64) (include "cliscale.amount" $work | float64) -}}
{{- if gt (addf (include "cliscale.amount" $sessions.workspaceSize | float64) (include "cliscale.amount" $sessions.spoolSize | float64)) $room }}
sessions.workspaceSize: with spoolSize it is {{ $sessions.workspaceSize }} + {{ $sessions.spoolSize }}, more than the containers may fill ({{ $host }} + {{ $work }}), so a full volume would get the session evicted; raise sessions.resources.work.limits.ephemeral-storage or lower the volumes' sizes.
{{- end }}
{{- end }}
{{- end -}}

{{- /* A Kubernetes quantity as a plain number. */ -}}
{{- define "cliscale.amount" -}}
{{- $text := toString . -}}
{{- $units := dict "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 -}}
{{- $unit := regexReplaceAll "^[0-9.]+" $text "" -}}
{{- mulf (regexFind "^[0-9.]+" $text | float64) (get $units $unit | default 1.0) -}}
{{- end -}}

{{- define "cliscale.faultsOfSettings" -}}
{{- range $component := list "controller" "gateway" }}
{{- $set := dict }}
{{- $without := deepCopy $.Values }}
{{- $_ := set (index $without $component) "env" dict }}
{{- $context := dict "Values" $without "Release" $.Release "Chart" $.Chart "Template" $.Template }}
{{- range include (printf "cliscale.%sEnv" $component) $context | fromYamlArray }}{{ $_ := set $set .name true }}{{ end }}
{{- $values := index $.Values $component }}
{{- range $name, $value := $values.env }}
{{- $plain := trimSuffix "_FILE" $name }}
{{- if regexMatch "^CLISCALE_(DATABASE_URL|API_KEY|DATA_KEY|SIGNING_KEY|GATEWAY_DATABASE_URL)$" $plain }}
{{ $component }}.env.{{ $name }}: is a secret, which anybody could read in the Deployment; put it into a Secret (database.existingSecret, apiKey, dataKey, signingKey).
{{- else if or (hasKey $set $name) (has $name (list "CLISCALE_PUBLIC_URL" "CLISCALE_METRICS_PORT" "CLISCALE_CODE_HOSTS" "CLISCALE_POD_NETWORKS")) }}
{{ $component }}.env.{{ $name }}: the chart sets this itself; use the chart's value instead ({{ include "cliscale.valueOfSetting" (list $component $name) }}).
{{- end }}
{{- end }}
{{- if gt (int $values.drainSeconds) 115 }}
{{ $component }}.drainSeconds: {{ $values.drainSeconds }} is more than 115; an upgrade waits for the old pods, so Helm's --timeout (300 s) has to be at least twice the grace period. Terminals lose nothing in a short drain: they reconnect to another replica.
{{- end }}
{{- end }}
{{- if and .Values.metrics.podMonitoring.enabled (not .Values.metrics.enabled) }}
metrics.podMonitoring.enabled: there is nothing to scrape; set metrics.enabled=true as well.
{{- end }}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.metrics.enabled) }}
metrics.serviceMonitor.enabled: there is nothing to scrape; set metrics.enabled=true as well.
{{- end }}
{{- end -}}

{{- /* Which value stands behind a setting that the chart makes. (list "component" "CLISCALE_…") */ -}}
{{- define "cliscale.valueOfSetting" -}}
{{- $values := dict
  "CLISCALE_PUBLIC_URL" "publicUrl or ingress.hostname"
  "CLISCALE_TRUSTED_PROXY_HOPS" "ingress.trustedProxyHops"
  "CLISCALE_SESSIONS_PER_MINUTE" "sessions.perMinute"
  "CLISCALE_MAX_ACTIVE_SESSIONS" "sessions.maxActive"
  "CLISCALE_QUEUE_LIMIT_SECONDS" "sessions.queueLimitSeconds"
  "CLISCALE_RETENTION_HOURS" "sessions.retentionHours"
  "CLISCALE_SESSION_LOG_MAX_BYTES" "sessions.logMaxBytes"
  "CLISCALE_CODE_HOSTS" "sessions.codeHosts"
  "CLISCALE_REQUIRE_CHECKSUM" "sessions.requireChecksum"
  "CLISCALE_KUBERNETES_NAMESPACE" "sessions.namespace"
  "CLISCALE_SESSION_TEMPLATE_FILE" "sessions"
  "CLISCALE_DRAIN_SECONDS" (printf "%s.drainSeconds" (index . 0))
  "CLISCALE_LOG_LEVEL" (printf "%s.logLevel" (index . 0))
  "CLISCALE_DATABASE_POOL_SIZE" (printf "%s.databasePoolSize" (index . 0))
  "CLISCALE_POD_NETWORKS" "gateway.podNetworks"
  "CLISCALE_METRICS_PORT" "metrics.enabled" -}}
{{- get $values (index . 1) | default "it is derived from the release's names" -}}
{{- end -}}
