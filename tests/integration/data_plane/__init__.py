"""What traffic and replicas do under a policy: the operator between a real apiserver and real Istio, Envoy and KEDA."""
