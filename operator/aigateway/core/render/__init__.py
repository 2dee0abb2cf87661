"""One generated kind a file: from a policy and its decision to the object to apply.  The files don't know each other."""
