"""One model for image, text and audio: `load`, `read`, and `Omni.embed / retrieve / generate`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omni.interface import Omni, load
    from omni.items import Audio, Item, Text, Video, read
    from omni.keep import Keep

__all__ = ["Audio", "Item", "Keep", "Omni", "Text", "Video", "load", "read"]


def __getattr__(name: str) -> Any:
    """Import the names of this package with the first that is used.

    Torch takes seconds, in which a command line must already answer to Ctrl-C.
    """
    if name not in __all__:
        raise AttributeError(f"module 'omni' has no attribute {name!r}")
    from omni import interface, items, keep

    for module in (interface, items, keep):
        names = vars(module).keys() & {*__all__}
        globals().update({known: getattr(module, known) for known in names})
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
