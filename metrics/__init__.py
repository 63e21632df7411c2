"""Metrics, one file a family; installed as realbench.metrics."""
