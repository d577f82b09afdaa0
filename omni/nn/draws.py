"""Random numbers that belong to an item: fixed by its key, whatever batch it comes in.

Counter-based (arXiv:1301.6055 has the idea): no state runs on, so a resumed run, another number of
processes or another order of the batch draws the same for the same item.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

LOW = (1 << 16) - 1


def _mix(x: Tensor) -> Tensor:
    """The finalizer of MurmurHash3, element by element, in 32 bits."""
    x = (x ^ (x >> 16 & LOW)) * -2048144789
    x = (x ^ (x >> 13 & (1 << 19) - 1)) * -1028477387
    return x ^ (x >> 16 & LOW)


class Draws:
    """A sequence of random numbers for each of N items; every call goes on in it.

    `keys` are int64; `purpose` tells apart what is drawn for the same item at different places.
    """

    def __init__(self, keys: Int[Tensor, "N"], purpose: int) -> None:
        self.low = _mix((keys & 0x7FFFFFFF).int() + purpose)[:, None]
        self.high = _mix((keys >> 32).int())[:, None]
        self.count = 0

    def uniform(self, low: float, high: float, *shape: int) -> Float[Tensor, "N ..."]:
        """From `low` to `high`, [N *shape]."""
        unit = (self._bits(math.prod(shape)) >> 8 & (1 << 24) - 1).float() * 2**-24
        return (low + (high - low) * unit).view(len(unit), *shape)

    def noise(self, *shape: int) -> Float[Tensor, "N ..."]:
        """Of mean 0 and variance 1, evenly spread."""
        return self.uniform(-math.sqrt(3), math.sqrt(3), *shape)

    def seeds(self) -> list[int]:
        """One of 32 bits for each item: more of a seed torch's generator on a CPU does not heed."""
        return (self._bits(1)[:, 0].long() & 0xFFFFFFFF).tolist()

    def _bits(self, number: int) -> Int[Tensor, "N K"]:
        """The next 32 random bits, so many times."""
        counter = torch.arange(self.count, self.count + number, device=self.low.device)
        self.count += number
        return _mix(_mix(counter.int() + self.low) ^ self.high)
