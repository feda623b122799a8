"""`/v1/auth`: keys, and who one is. Errors as OpenAI words them."""
