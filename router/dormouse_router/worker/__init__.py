"""The batch worker: a process of its own that has the lines of all batches answered by calling a router over HTTP.

`python -m dormouse_router.worker`. Any number of them work on one store; which lines whose are is `batching.Work`'s.
"""
