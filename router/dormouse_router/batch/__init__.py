"""Batches: OpenAI's asynchronous work over a file of requests. Knows no HTTP of clients; `dialects/openai` words it."""
