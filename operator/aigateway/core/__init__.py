"""Pure decisions: from a policy, an observation and the time to what should be so, and why.

No I/O, no clock, no randomness, no logging in here; the operator, the command line and tests all drive the same
functions.
"""
