"""A real Kubernetes, Istio, Envoy, KEDA and Prometheus on one machine, without containers.

The integration tests, ``make demo`` and ``make stack`` use it.  The operator's own code must never import it.
"""
