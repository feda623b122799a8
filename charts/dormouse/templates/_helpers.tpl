{{/* Labels of every object; the selector's two never change. */}}
{{- define "dormouse.selector" -}}
app.kubernetes.io/name: dormouse
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "dormouse.labels" -}}
app.kubernetes.io/name: dormouse
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: dormouse
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | quote }}
{{- end }}

{{/* Image of a part: a digest wins over the tag. */}}
{{- define "dormouse.image" -}}
{{- $base := printf "%s%s" .root.Values.image.prefix .part -}}
{{- if .digest -}}{{ $base }}@{{ .digest }}{{- else -}}{{ $base }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}{{- end -}}
{{- end }}

{{/* The restricted Pod Security Standard, and the user of every pod of ours (dormouse_api/names.py RUN_AS_USER). */}}
{{- define "dormouse.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "dormouse.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* A Role in every watched namespace, or one ClusterRole for all. Expects root, name and rules. */}}
{{- define "dormouse.grants" -}}
{{- $ := .root -}}
{{- $name := printf "%s-%s" $.Release.Name .name -}}
{{- $rules := .rules -}}
{{- $labels := include "dormouse.labels" (dict "root" $ "component" .name) -}}
{{- range $namespace := ($.Values.watchNamespaces | default (list "")) }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ ternary "Role" "ClusterRole" (ne $namespace "") }}
metadata:
  name: {{ $name }}
  {{- with $namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- $labels | nindent 4 }}
rules:
  {{- $rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ ternary "RoleBinding" "ClusterRoleBinding" (ne $namespace "") }}
metadata:
  name: {{ $name }}
  {{- with $namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- $labels | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ ternary "Role" "ClusterRole" (ne $namespace "") }}
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ $name }}
    namespace: {{ $.Release.Namespace }}
{{- end }}
{{- end }}
