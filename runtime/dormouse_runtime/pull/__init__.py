"""Runs in the inspect and pull Jobs: learns what a model is, and brings its files whole onto the volume.

`python -m dormouse_runtime.pull inspect|fetch`. Needs no engine library. The order of work is in `inspect.py` and
`fetch.py`; `hub.py` alone talks to the model hub.
"""

import os

# Read by huggingface_hub when it is imported, so they are set before any module of this package can import it.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_UPDATE_CHECK", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
