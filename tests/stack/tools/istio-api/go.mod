module stack/istio-api

go 1.22

require istio.io/api v1.22.3
