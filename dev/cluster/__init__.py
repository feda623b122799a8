"""The project's own Kubernetes: one real node as plain processes, or a control plane alone for tests.

`python -m dev.cluster up` starts the node, `dev.cluster.controlplane.ControlPlane` the node-less kind. Everything
here uses the standard library only, because it must run on a fresh machine before any virtual environment exists.
"""
