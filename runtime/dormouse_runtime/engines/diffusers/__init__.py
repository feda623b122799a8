"""The diffusers engine: OpenAI's image routes over a diffusion pipeline. Only this package imports diffusers; it runs
in a process of its own (`python -m dormouse_runtime.engines.diffusers`).
"""
