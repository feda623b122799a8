"""`/v1/models`: lists, details and versions of models, and what their owners may do with them."""
