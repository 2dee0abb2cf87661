"""Retries, deadlines, breakers, limits and errors, seen from clients, backends and Envoy's own counters."""
