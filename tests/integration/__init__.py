"""Tests against the real stack: a real apiserver, Istio, Envoy, KEDA and Prometheus."""
