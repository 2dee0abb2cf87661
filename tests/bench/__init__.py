"""Benchmarks on the real stack: ``make bench-main``.  They report figures and never fail a run."""
