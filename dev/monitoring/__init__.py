"""Alerts, recording rules and dashboards, as data: what charts/dormouse/monitoring is generated from.

Names of metrics come from `dormouse_api.metrics`; nothing here is part of the product.
"""
