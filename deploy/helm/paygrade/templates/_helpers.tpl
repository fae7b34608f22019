{{- define "paygrade.name" -}}
{{- if contains "paygrade" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-paygrade{{ end }}
{{- end }}

{{- define "paygrade.selector" -}}
app.kubernetes.io/name: paygrade
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "paygrade.labels" -}}
{{ include "paygrade.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "paygrade.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "paygrade.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "paygrade.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{- define "paygrade.environment" -}}
envFrom:
  - secretRef:
      name: {{ .Values.existingSecret }}
{{- with .Values.env }}
env:
  {{- range $name, $value := . }}
  - name: {{ $name }}
    value: {{ $value | quote }}
  {{- end }}
{{- end }}
{{- end }}
