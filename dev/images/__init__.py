"""Container images without a registry: bases from Debian packages, ours by buildah, kept in one OCI layout.

`python -m dev.images` builds what has changed. Every image is named after a hash of its inputs, so an unchanged one
costs nothing; blobs are uncompressed and shared, so a change of our own code ships its last thin layer only.
"""
