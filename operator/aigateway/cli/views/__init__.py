"""What each command shows, as plain frozen values; :mod:`aigateway.cli.printers` makes text of them.

``-o yaml`` and ``-o json`` print the same values, so a field here is a field that scripts read.
"""
