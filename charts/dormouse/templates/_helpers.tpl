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

{{- /* How many routers there may be at once. */}}
{{- define "dormouse.routers" -}}
{{- ternary .Values.router.autoscaling.maxReplicas .Values.router.replicas .Values.router.autoscaling.enabled -}}
{{- end }}

{{- /* Limits as the router reads them: what is left out is null, no limit. */}}
{{- define "dormouse.allowance" -}}
{{- toJson (dict "requestsPerMinute" .requestsPerMinute "tokensPerMinute" .tokensPerMinute "concurrent" .concurrent "enqueuedTokens" .enqueuedTokens "storageBytes" .storageBytes) -}}
{{- end }}

{{/* OpenTelemetry's own variables, where traces are asked for. */}}
{{- define "dormouse.tracingEnv" -}}
{{- with .Values.tracing }}
{{- if .endpoint -}}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ .endpoint | quote }}}
- {name: OTEL_TRACES_SAMPLER, value: parentbased_traceidratio}
- {name: OTEL_TRACES_SAMPLER_ARG, value: {{ divf .percent 100 | quote }}}
{{- if .headers.existingSecret }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom: {secretKeyRef: {name: {{ .headers.existingSecret | quote }}, key: {{ .headers.key | quote }}}}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Where what is kept lies, and what of it there may be: the same for routers and workers. */}}
{{- define "dormouse.storeEnv" -}}
{{- $database := .Values.router.database }}
{{- $storage := .Values.router.storage }}
{{- $files := .Values.router.files }}
{{- $batches := .Values.router.batches }}
{{- $sqlite := not $database.existingSecret }}
{{- $volume := or $sqlite (not $files.bucket) -}}
{{- if $volume }}
- {name: DORMOUSE_STORAGE_SIZE, value: {{ $storage.size | quote }}}
{{- end }}
{{- if not $sqlite }}
- name: DORMOUSE_DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ $database.existingSecret | quote }}, key: {{ $database.key | quote }}}}
{{- end }}
{{- if $files.bucket }}
- {name: DORMOUSE_FILES, value: {{ printf "s3://%s/%s" $files.bucket $files.prefix | quote }}}
- {name: DORMOUSE_FILES_ENDPOINT, value: {{ $files.endpoint | quote }}}
- {name: DORMOUSE_FILES_REGION, value: {{ $files.region | quote }}}
{{- end }}
{{- if and $files.bucket $files.existingSecret }}
- name: AWS_ACCESS_KEY_ID
  valueFrom: {secretKeyRef: {name: {{ $files.existingSecret | quote }}, key: accessKeyId}}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ $files.existingSecret | quote }}, key: secretAccessKey}}
- name: AWS_SESSION_TOKEN
  valueFrom: {secretKeyRef: {name: {{ $files.existingSecret | quote }}, key: sessionToken, optional: true}}
{{- end }}
- {name: DORMOUSE_FILES_SIZE, value: {{ $files.size | quote }}}
- {name: DORMOUSE_FILES_OWNER_SIZE, value: {{ $files.ownerSize | quote }}}
- {name: DORMOUSE_FILES_OWNER_COUNT, value: {{ $files.ownerCount | int64 | quote }}}
- {name: DORMOUSE_FILE_SIZE, value: {{ $files.fileSize | quote }}}
- {name: DORMOUSE_BATCH_FILE_SIZE, value: {{ $files.batchFileSize | quote }}}
- {name: DORMOUSE_BATCH_CREATES, value: {{ $batches.createsPerHour | int64 | quote }}}
- {name: DORMOUSE_BATCH_LINES, value: {{ $batches.lines | int64 | quote }}}
- {name: DORMOUSE_BATCH_TOKENS, value: {{ $batches.enqueuedTokens | int64 | quote }}}
- {name: DORMOUSE_BATCH_SECONDS, value: {{ $batches.keepSeconds | int64 | quote }}}
- {name: DORMOUSE_BATCH_MIXED, value: {{ $batches.mixedModels | quote }}}
- {name: DORMOUSE_BATCH_SCORES, value: {{ $batches.scores | quote }}}
{{- end }}

{{/* The container of a batch worker. Expects root, the router's url, and whether it has the store's volume. */}}
{{- define "dormouse.worker" -}}
{{- $ := .root -}}
{{- $worker := $.Values.worker -}}
- name: worker
  image: {{ include "dormouse.image" (dict "root" $ "part" "router" "digest" $.Values.router.digest) }}
  imagePullPolicy: {{ $.Values.image.pullPolicy }}
  command: [python3, -m, dormouse_router.worker]
  env:
    - name: POD_NAME
      valueFrom: {fieldRef: {fieldPath: metadata.name}}
    - {name: DORMOUSE_ROUTER_URL, value: {{ .url | quote }}}
    - {name: DORMOUSE_WORKER_IN_FLIGHT, value: {{ $worker.inFlight | int64 | quote }}}
    - {name: DORMOUSE_WORKER_MEMORY, value: {{ $worker.lineMemory | quote }}}
    - {name: DORMOUSE_WORKER_HOLD_SECONDS, value: {{ $worker.holdSeconds | int64 | quote }}}
    - {name: DORMOUSE_WORKER_DRAIN_SECONDS, value: {{ $worker.drainSeconds | int64 | quote }}}
    - {name: DORMOUSE_BATCH_HOURS, value: {{ join "," $worker.hours | quote }}}
    - {name: DORMOUSE_BATCH_TIME_ZONE, value: {{ $worker.timeZone | quote }}}
    {{- include "dormouse.storeEnv" $ | trim | nindent 4 }}
    - {name: HOME, value: /tmp}
  ports:
    - {name: worker-ops, containerPort: 9091}
  livenessProbe:
    httpGet: {path: /livez, port: worker-ops}
    periodSeconds: 10
    timeoutSeconds: 5
  {{- if not .volume }}
  readinessProbe:
    httpGet: {path: /readyz, port: worker-ops}
    periodSeconds: 5
  {{- end }}
  resources:
    {{- toYaml $worker.resources | nindent 4 }}
  securityContext:
    {{- include "dormouse.containerSecurity" $ | nindent 4 }}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
    {{- if .volume }}
    - {name: store, mountPath: /var/lib/dormouse}
    {{- end }}
{{- end }}

{{/* The beginning of a NetworkPolicy, up to its rules. Expects root, select, and, if need be, component and namespace. */}}
{{- define "dormouse.policy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ compact (list .root.Release.Name .component) | join "-" }}
  namespace: {{ .namespace | default .root.Release.Namespace }}
  labels:
    {{- include "dormouse.labels" (dict "root" .root "component" .component) | nindent 4 }}
spec:
  podSelector:
    {{- toYaml .select | nindent 4 }}
  policyTypes: [Ingress, Egress]
{{- end }}

{{/* An egress rule. Expects to (peers; empty: anywhere), ports and, where it is not TCP alone, protocols. */}}
{{- define "dormouse.way" -}}
{{- $rule := dict "ports" list }}
{{- range $port := .ports }}
{{- range $protocol := $.protocols | default (list "TCP") }}
{{- $_ := set $rule "ports" (append $rule.ports (dict "port" $port "protocol" $protocol)) }}
{{- end }}
{{- end }}
{{- with .to }}
{{- $_ := set $rule "to" . }}
{{- end }}
{{- list $rule | toYaml }}
{{- end }}

{{/* The port of a URL, also where only its scheme says it. */}}
{{- define "dormouse.port" -}}
{{- $url := urlParse . -}}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "80" "443" (eq $url.scheme "http")) -}}
{{- end }}
