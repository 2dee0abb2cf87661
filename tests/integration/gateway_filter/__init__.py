"""What the gateway filter does to requests, and that it does nothing to those of others."""
