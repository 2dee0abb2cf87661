"""What a user may write, and what it means: models, their CRD, reasons, and the resolved form that the core decides on.

Everything above may import this package; it imports nothing of the project and does no I/O.
"""
