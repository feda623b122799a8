"""LangChain's own conformance suites, run by test_langchain.py in a process of their own.

Its clients are never closed and outlive their event loops: beside other tests, where warnings are errors, they would
fail whichever of them happens to run when the garbage is collected.
"""
