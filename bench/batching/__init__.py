"""The parts of bench/batch.py."""
