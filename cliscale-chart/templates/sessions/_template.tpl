{{- /* session.json, as controller/src/launch/kubernetes/session-template.ts reads it. */ -}}
{{- define "cliscale.sessionTemplate" -}}
{{- $sessions := .Values.sessions -}}
{{- $images := dict -}}
{{- range $name, $image := $sessions.images -}}
{{- $_ := set $images $name (dict "image" $image.image "kind" $image.kind) -}}
{{- end -}}
{{- $template := dict
  "runnerImage" (include "cliscale.image" (list . .Values.runner.image))
  "imagePullPolicy" .Values.image.pullPolicy
  "imagePullSecrets" $sessions.imagePullSecrets
  "images" $images
  "serviceAccountName" (printf "%s-session" (include "cliscale.fullname" .))
  "runtimeClassName" ($sessions.runtimeClassName | default nil)
  "priorityClassName" ($sessions.priorityClassName | default nil)
  "nodeSelector" $sessions.nodeSelector
  "tolerations" $sessions.tolerations
  "labels" (mergeOverwrite (deepCopy .Values.commonLabels) $sessions.labels)
  "annotations" $sessions.annotations
  "resources" $sessions.resources
  "workspaceSize" $sessions.workspaceSize
  "spoolSize" $sessions.spoolSize
  "extraCaConfigMap" (ternary (dict "name" (printf "%s-session-ca" (include "cliscale.fullname" .)) "key" "ca.crt") nil (ne $sessions.extraCaCertificates ""))
  "ttlSecondsAfterFinished" (int $sessions.ttlSecondsAfterFinished)
  "terminationGracePeriodSeconds" (int $sessions.terminationGracePeriodSeconds) -}}
{{- toPrettyJson $template -}}
{{- end -}}
