"""OpenAI's Batch API, over `batching`. Nothing here works on a batch: the worker does."""
