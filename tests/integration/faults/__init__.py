"""What the operator does while the API server, or what stands behind it, fails: its promises are in docs/faults.md."""
