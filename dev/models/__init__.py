"""Tiny models trained on the spot: small enough for two cores and two minutes, with answers known word for word."""
