"""The gateway filter, which is the same for all policies, and what a policy's routes carry for it."""
