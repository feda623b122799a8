"""What `bench.router` is made of: a streaming engine stand-in, a client that measures, the proxies, the processes."""
