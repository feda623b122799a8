"""The OpenAPI document of everything a client may call, and the page that shows it.

Operations are typed data, one module per dialect; bodies come from the structs that decode them wherever there are any,
so the document cannot say less than the code takes. Knows no sockets; serves nothing but itself (`pages.py`).
"""
