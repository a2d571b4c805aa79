{{- /* Names and labels. Every object's name comes from here. */ -}}

{{- /* `cliscale` for a release called so, else `<release>-cliscale`, or what fullnameOverride says. */ -}}
{{- define "cliscale.fullname" -}}
{{- if .Values.fullnameOverride -}}{{ .Values.fullnameOverride }}
{{- else if contains "cliscale" .Release.Name -}}{{ .Release.Name }}
{{- else -}}{{ .Release.Name }}-cliscale
{{- end -}}
{{- end -}}

{{- define "cliscale.sessionsNamespace" -}}
{{ .Values.sessions.namespace | default (printf "%s-sessions" .Release.Namespace) }}
{{- end -}}

{{- define "cliscale.apiKeySecret" -}}
{{ .Values.apiKey.existingSecret | default (printf "%s-api-key" (include "cliscale.fullname" .)) }}
{{- end -}}

{{- define "cliscale.dataKeySecret" -}}
{{ .Values.dataKey.existingSecret | default (printf "%s-data-key" (include "cliscale.fullname" .)) }}
{{- end -}}

{{- define "cliscale.signingKeySecret" -}}
{{ .Values.signingKey.existingSecret | default (printf "%s-signing-key" (include "cliscale.fullname" .)) }}
{{- end -}}

{{- define "cliscale.databaseSecret" -}}
{{ .Values.database.existingSecret | default (printf "%s-database" (include "cliscale.fullname" .)) }}
{{- end -}}

{{- /* What a selector may hold: it never changes over an upgrade. (list $ "component") */ -}}
{{- define "cliscale.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: cliscale
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- /* The labels of an object of the chart; ours come last and win. (list $ "component") */ -}}
{{- define "cliscale.labels" -}}
{{- $root := index . 0 -}}
{{- $ours := include "cliscale.selectorLabels" . | fromYaml -}}
{{- $ours = mergeOverwrite $ours (dict
  "app.kubernetes.io/version" $root.Chart.AppVersion
  "app.kubernetes.io/managed-by" $root.Release.Service
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_")) -}}
{{- mergeOverwrite (deepCopy $root.Values.commonLabels) $ours | toYaml -}}
{{- end -}}

{{- /* The labels of a pod: no version in them, so that an upgrade of the chart alone restarts nothing.
       (list $ "component" podLabels) */ -}}
{{- define "cliscale.podLabels" -}}
{{- $root := index . 0 -}}
{{- $ours := include "cliscale.selectorLabels" . | fromYaml -}}
{{- mergeOverwrite (deepCopy $root.Values.commonLabels) (index . 2) $ours | toYaml -}}
{{- end -}}

{{- /* The labels of sessions' pods, as the controller makes them (controller/src/launch/kubernetes/job-spec.ts); policies and the
       pods of `helm test` go by them. */ -}}
{{- define "cliscale.sessionSelector" -}}
{{ include "cliscale.selectorLabels" (list . "session") }}
{{- end -}}

{{- /* Worn by whoever may open a session's terminal: the gateway. */ -}}
{{- define "cliscale.terminalAccess" -}}
cliscale.dev/access-terminals: 'true'
{{- end -}}
