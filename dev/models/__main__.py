"""`python -m dev.models` makes the tiny models if they are missing and prints the folder the hub is to serve."""

from dev.models.store import ensure

if __name__ == "__main__":
    print(ensure())
