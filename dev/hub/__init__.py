"""A stand-in for the model hub: the HTTP that huggingface_hub 2.x uses, faults to order, models published at run time.

    python -m dev.hub ROOT [--host 127.0.0.1] [--port 8900]      then HF_ENDPOINT=http://127.0.0.1:8900 <client>

The hub's own dialect (models, tree, resolve) is in `api.py`; what a test may ask of the stand-in itself:

    GET    /_health                     {"ok": true}
    PUT    /_repos/ORG/NAME/BRANCH      body: a tar of the files, `.hub.json` among them; makes a new commit
    DELETE /_repos/ORG/NAME             forgets what was published
    POST   /_faults                     a JSON list that replaces the faults so far; see `faults.py`
    GET    /_log, DELETE /_log          requests answered so far

ROOT/ORG/NAME holds a repository's main branch, ROOT/ORG/NAME/.refs/BRANCH another branch, and ROOT/ORG/NAME/.hub.json
may say {"gated": true, "private": true, "tokens": ["hf_..."]}. Standard library only; it knows nothing of Dormouse.
"""
