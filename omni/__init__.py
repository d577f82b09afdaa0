"""One model for image, text and audio: `load`, `read`, and `Omni.embed / retrieve / generate`."""

from omni.interface import Audio, Item, Omni, load, read

__all__ = ["Audio", "Item", "Omni", "load", "read"]
