{{- /* Pieces of policies. */ -}}

{{- /* DNS of the cluster, over both protocols. */ -}}
{{- define "cliscale.egressDns" -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
      podSelector:
        matchExpressions:
          - { key: k8s-app, operator: In, values: [kube-dns, node-local-dns] }
    {{- range .Values.networkPolicy.dnsCidrs }}
    - ipBlock: { cidr: {{ . }} }
    {{- end }}
  ports:
    - { protocol: UDP, port: 53 }
    - { protocol: TCP, port: 53 }
{{- end -}}

{{- define "cliscale.egressDatabase" -}}
{{- if .Values.postgresql.enabled }}
- to:
    - podSelector:
        matchLabels:
          {{- include "cliscale.selectorLabels" (list . "postgresql") | nindent 10 }}
  ports:
    - { protocol: TCP, port: 5432 }
{{- else if .Values.database.cloudSql.instance }}
# The Cloud SQL proxy: the instance itself, Google's APIs, and the metadata server for its identity. 988 is where GKE
# sends that on the node.
- to: {{ include "cliscale.cidrPeers" .Values.networkPolicy.databaseCidrs }}
  ports:
    - { protocol: TCP, port: 3307 }
- ports:
    - { protocol: TCP, port: 443 }
- to:
    - ipBlock: { cidr: 169.254.169.252/32 }
    - ipBlock: { cidr: 169.254.169.254/32 }
  ports:
    - { protocol: TCP, port: 80 }
    - { protocol: TCP, port: 988 }
{{- else }}
- to: {{ include "cliscale.cidrPeers" .Values.networkPolicy.databaseCidrs }}
  ports:
    - { protocol: TCP, port: {{ int .Values.networkPolicy.databasePort }} }
{{- end }}
{{- end -}}

{{- define "cliscale.egressApiServer" -}}
- to: {{ include "cliscale.cidrPeers" .Values.networkPolicy.apiServerCidrs }}
  ports:
    {{- range .Values.networkPolicy.apiServerPorts }}
    - { protocol: TCP, port: {{ int . }} }
    {{- end }}
{{- end -}}

{{- /* Peers for a list of networks; an empty list of peers means everywhere. */ -}}
{{- define "cliscale.cidrPeers" -}}
{{- $peers := list -}}
{{- range . -}}{{- $peers = append $peers (dict "ipBlock" (dict "cidr" .)) -}}{{- end -}}
{{- toJson $peers -}}
{{- end -}}

{{- define "cliscale.ingressMetrics" -}}
{{- if .Values.metrics.enabled }}
- from:
    - namespaceSelector:
        matchExpressions:
          - key: kubernetes.io/metadata.name
            operator: In
            values: {{ .Values.metrics.fromNamespaces | toJson }}
  ports:
    - { protocol: TCP, port: 9090 }
{{- end }}
{{- end -}}

{{- /* Peers that are the public internet and not the cluster. Kubernetes takes no exception outside of its network, so a
       cluster's IPv6 network is named only where it is a public one (2000::/3). */ -}}
{{- define "cliscale.internetPeers" -}}
{{- $networks := .Files.Get "files/non-public-networks.json" | fromJson -}}
{{- $v4 := $networks.v4 -}}
{{- $v6 := $networks.v6 -}}
{{- range .Values.networkPolicy.clusterCidrs -}}
{{- if regexMatch "^[23][0-9a-fA-F]{3}:" . -}}{{- $v6 = append $v6 . -}}
{{- else if not (contains ":" .) -}}{{- $v4 = append $v4 . -}}{{- end -}}
{{- end -}}
- ipBlock:
    cidr: 0.0.0.0/0
    except:
      {{- uniq $v4 | toYaml | nindent 6 }}
- ipBlock:
    cidr: 2000::/3
    except:
      {{- uniq $v6 | toYaml | nindent 6 }}
{{- end -}}
