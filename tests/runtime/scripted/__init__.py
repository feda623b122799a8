"""A supervisor whose engines are scripts: the real process, ports and signals without the heavy libraries."""
