"""What `bench.soak` is made of: engines and clients, good and bad, a cluster in motion, and the verdict."""
