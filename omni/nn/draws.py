"""Random numbers that belong to an item: fixed by its key, whatever batch it comes in.

Counter-based (arXiv:1301.6055 has the idea): no state runs on, so a resumed run, another number of
processes or another order of the batch draws the same for the same item.
"""

import math
from enum import Enum, unique

import torch
from jaxtyping import Float, Int
from torch import Tensor

LOW = (1 << 16) - 1


@unique
class Purpose(Enum):
    """What is drawn for an item, each with numbers of its own, so that no two draws are the same.

    What is drawn for every modality of a sample has a number for each of the three. A number is
    never changed or used again: a run would go on with other draws than it began with.
    """

    IMAGE_AUGMENTATION = range(1, 2)
    AUDIO_NOISE = range(2, 3)
    AUDIO_AUGMENTATION = range(3, 4)
    # Which samples of a step an objective takes.
    JOINT_SAMPLES = range(10, 11)
    IMAGE_FLOW_SAMPLES = range(11, 12)
    AUDIO_FLOW_SAMPLES = range(12, 13)
    SEVERAL_MODALITIES = range(13, 14)
    DROPPING_SAMPLES = range(14, 15)
    # What each objective draws for a sample.
    FLOW_NOISE = range(20, 23)
    FLOW_TIME = range(30, 33)
    FLOW_UNCONDITIONAL = range(40, 43)
    MATCHING_MIXTURE = range(50, 51)
    MATCHING_BLUR = range(51, 54)
    MASKED_TOKENS = range(60, 63)
    MASKED_WORDS = range(70, 71)
    MODALITY_DROPOUT = range(80, 81)
    WORD_DROPOUT = range(90, 91)


def _mix(x: Tensor) -> Tensor:
    """The finalizer of MurmurHash3, element by element, in 32 bits."""
    x = (x ^ (x >> 16 & LOW)) * -2048144789
    x = (x ^ (x >> 13 & (1 << 19) - 1)) * -1028477387
    return x ^ (x >> 16 & LOW)


class Draws:
    """A sequence of random numbers for each of N items; every call goes on in it.

    `keys` are int64; `purpose` and, where it has several numbers, the number of the `modality` tell
    apart what is drawn for the same item at different places.
    """

    def __init__(self, keys: Int[Tensor, "N"], purpose: Purpose, modality: int = 0) -> None:
        number = purpose.value[modality]
        self.low = _mix((keys & 0x7FFFFFFF).int() + number)[:, None]
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
