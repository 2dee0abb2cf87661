"""What the operator decides by metrics, on real traffic, a real Prometheus and real proxies."""
