"""An OpenAI-compatible HTTP server over anything that makes tokens (`engines.generation`)."""
