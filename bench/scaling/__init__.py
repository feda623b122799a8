"""A simulated service: arrivals, pods that start and drain, rules that say how many there shall be. No clock."""
