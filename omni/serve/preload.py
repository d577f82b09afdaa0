"""What the server of forks imports once, so that processes begin within a fraction of a second."""

import gc

from omni.serve import decoder, model

__all__ = ["decoder", "model"]

# None of what is imported is ever garbage: to look for some takes seconds, and unshares its memory.
gc.freeze()
