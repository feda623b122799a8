"""`make gpu-check`: what the runtime does on a real NVIDIA GPU, as one table and one JSON file. See docs/gpu.md."""
