"""NetworkPolicies enforced on the local cluster, whose bridge network knows none: selectors, rules, a process."""
