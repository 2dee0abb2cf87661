"""One generated kind a file: from a policy and its decision to the object to apply.

The files know nothing of each other.
"""
