"""What shall exist, as plain objects ready for server-side apply. Pure: no cluster, no clock, no event loop."""
