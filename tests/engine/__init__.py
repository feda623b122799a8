"""The scripted engine: plays a runtime pod's two ports without weights, deterministically, and misbehaves on request.

Owns what tests need to see of an engine: known answers, stages of a start, faults named by the prompt. Standard
library only, so that it starts in a fraction of a second in an image that holds nothing but Python.
"""
