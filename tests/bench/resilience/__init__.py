"""The benchmark of what a policy does while a model fails: outages, flaky answers, and its price when all is well."""
