"""The custom engine: HTTP over one Python class of the profile's image, in a process of its own
(`python -m dormouse_runtime.engines.custom`). Needs no engine library.
"""
