"""The chart by the real helm on the real apiserver; the operator runs from its pods, by the stack's runner."""
