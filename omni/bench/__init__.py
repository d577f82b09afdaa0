"""Measurements that anybody can repeat: python -m omni bench step | loader | serve."""
