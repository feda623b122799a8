"""Decisions as pure functions of plain data. No cluster, no clock, no event loop: `now` is always an argument."""
