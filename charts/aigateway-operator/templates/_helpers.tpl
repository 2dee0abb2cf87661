{{/* The name of all objects, at most 40 characters so that suffixes fit. */}}
{{- define "aigateway-operator.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* What never changes of a release's pods. */}}
{{- define "aigateway-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{/* Labels that every object has. */}}
{{- define "aigateway-operator.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "aigateway-operator.labels" -}}
{{ include "aigateway-operator.commonLabels" . }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "aigateway-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "aigateway-operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "aigateway-operator.image" -}}
{{- with .Values.image }}
{{- if .registry }}{{ .registry | trimSuffix "/" }}/{{ end }}{{ .repository }}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ default $.Chart.AppVersion .tag }}{{ end }}
{{- end }}
{{- end }}

{{/* The restricted pod security standard, for a pod and for its container. */}}
{{- define "aigateway-operator.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "aigateway-operator.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* What the operator needs in every namespace that it looks at, and nothing more. */}}
{{- define "aigateway-operator.rules" -}}
- apiGroups: [aigateway.dev]
  resources: [aigatewaypolicies]
  verbs: [list, watch]
- apiGroups: [aigateway.dev]
  resources: [aigatewaypolicies/status]
  verbs: [patch]
- apiGroups: [networking.istio.io]
  resources: [virtualservices, destinationrules]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}

{{- define "aigateway-operator.envoyFilterRules" -}}
- apiGroups: [networking.istio.io]
  resources: [envoyfilters]
  verbs: [get, list, watch, create, patch, delete]
{{- end }}

{{/* Which fields the cluster's Istio and KEDA know is read from these three definitions. */}}
{{- define "aigateway-operator.definitionRules" -}}
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  resourceNames:
  - virtualservices.networking.istio.io
  - destinationrules.networking.istio.io
  - scaledobjects.keda.sh
  verbs: [get]
{{- end }}

{{- define "aigateway-operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "aigateway-operator.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{/* What the schema cannot say: relations between values. The operator would refuse the same at its start. */}}
{{- define "aigateway-operator.check" -}}
{{- with .Values.leaderElection }}
{{- if gt (mul 4 .renewDeadlineSeconds) (mul 3 .leaseSeconds) }}
{{- fail "leaderElection.renewDeadlineSeconds must be at most three quarters of leaderElection.leaseSeconds" }}
{{- end }}
{{- if gt (mul 2 .retrySeconds) (int64 .renewDeadlineSeconds) }}
{{- fail "leaderElection.retrySeconds must be at most half of leaderElection.renewDeadlineSeconds" }}
{{- end }}
{{- end }}
{{- if and .Values.gateways.grants (not .Values.gateways.restricted) }}
{{- fail "gateways.grants has no effect unless gateways.restricted is true" }}
{{- end }}
{{- with .Values.envoyFilter.namespaces }}
{{- if and (has $.Values.istio.rootNamespace .) (gt (len .) 1) }}
{{- fail "envoyFilter.namespaces must hold istio.rootNamespace alone, whose EnvoyFilters reach every gateway, or others without it" }}
{{- end }}
{{- end }}
{{- end }}
