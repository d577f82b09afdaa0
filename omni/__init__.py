"""One model for image, text and audio: `load`, `read`, and `Omni.embed / retrieve / generate`."""

from omni.interface import Omni, load
from omni.items import Audio, Item, Video, read
from omni.keep import Keep

__all__ = ["Audio", "Item", "Keep", "Omni", "Video", "load", "read"]
