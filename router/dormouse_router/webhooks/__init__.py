"""Webhooks on their way: who may be called, signed how, tried when. `keeping.webhooks` knows what is owed."""
