"""Writes what is generated around the chart: its metadata, schema, CRD template, README and the plain manifests.

``python -m tools.chart`` writes, :mod:`tools.chart.generate` holds what; ``make generate`` and tests call it.  The
chart's ``values.yaml`` is the source of all that is said about values.  Nothing here talks to a cluster.
"""
