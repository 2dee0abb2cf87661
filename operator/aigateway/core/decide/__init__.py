"""One decision a file; the files don't know each other, :mod:`aigateway.core.reconcile` composes them."""
