"""Layers that know nothing of senses."""
