"""What the operator tells about itself: metrics and probes.

:mod:`aigateway.process` wires it up; the parts that are measured know nothing of it, they call plain functions.
"""
