"""Makes a quantized copy of a model, once, on the volume: compressed-tensors for vLLM, bitsandbytes for transformers.

`job` is pid 1 of the quantize Job and imports nothing heavy; the work is done by a child, `python -m
dormouse_runtime.quantize.work`, so that a child killed for memory still leaves a message with a reason.
"""
