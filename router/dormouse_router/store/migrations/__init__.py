"""Alembic's folder: `env.py`, and one module in `versions` for each change of the tables.

A change only ever adds, or takes away what no router of the release before still uses: while routers are replaced, old
and new ones share the database.
"""
