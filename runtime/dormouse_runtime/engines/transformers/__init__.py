"""The transformers engine: the OpenAI server over Hugging Face models. Only this package imports torch and transformers
for serving; it runs in a process of its own (`python -m dormouse_runtime.engines.transformers`).
"""
