"""Who may come in and how much: credentials, keys, roles, limits. `gate.KeyGate` puts them together."""
