"""What a model must be to be measured: items in, unit vectors out. N items, D width."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, final

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from omni import Audio
from omni.items import Item

CHUNK = 64
"""items that go through a network at once"""
KINDS: dict[type, str] = {str: "text", Image.Image: "image", Audio: "audio"}


class Embedder(Protocol):
    """A model that takes texts, pictures or sounds to one space, as `omni.Omni` does.

    Attributes:
        senses: of "image", "text" and "audio", those that it has.
        spread: runs a function on each batch, in their order: `map`, or one over processes.
    """

    senses: frozenset[str]
    spread: Callable[[Callable, Sequence], Iterable]

    def embed(self, items: Any) -> Float[Tensor, "N D"]:
        """Unit vectors of items as `omni.Omni.embed` takes them, on the CPU."""
        ...

    def untrained(self, seed: int = 0) -> "Embedder":
        """The same architecture with fresh weights."""
        ...


class Adapter(ABC):
    """A known model as an `Embedder`: each item of one sense, prepared as the model wants it.

    Attributes:
        name: as it is given on the command line.
        weights: sha256 over names and values of all tensors.
    """

    senses: frozenset[str]

    def __init__(self, name: str, network: nn.Module, device: str) -> None:
        self.name, self.device = name, torch.device(device)
        self.network = network.to(self.device).eval()
        self.spread: Callable[[Callable, Sequence], Iterable] = map

    @property
    def weights(self) -> str:
        whole = hashlib.sha256()
        for name, value in sorted(self.network.state_dict().items()):
            whole.update(name.encode())
            whole.update(value.cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return whole.hexdigest()

    @abstractmethod
    def untrained(self, seed: int = 0) -> "Adapter":
        """The same architecture with fresh weights, keyed by the seed."""

    @abstractmethod
    def forward(self, sense: str, items: list) -> Float[Tensor, "N D"]:
        """What the model makes of a batch of one sense, of any length."""

    @final
    def embed(self, items: Item | list[Item]) -> Float[Tensor, "N D"]:
        """Unit vectors, on the CPU.

        Raises `ValueError` for no items, for one of several senses and for a sense that the model
        has not.
        """
        several = items if isinstance(items, list) else [items]
        if not several:
            raise ValueError("items must not be an empty list")
        groups: dict[str, list[int]] = {}
        for index, item in enumerate(several):
            groups.setdefault(self._sense(item), []).append(index)
        batches = [
            (sense, members[start : start + CHUNK])
            for sense, members in groups.items()
            for start in range(0, len(members), CHUNK)
        ]

        def run(batch: tuple[str, list[int]]) -> Tensor:
            made = self.forward(batch[0], [several[i] for i in batch[1]]).float().cpu()
            return nn.functional.normalize(made, dim=1)

        with torch.no_grad():
            made = torch.cat([*self.spread(run, batches)])
        order = torch.tensor([index for _, indices in batches for index in indices])
        return made[order.argsort()]

    def _sense(self, item: Any) -> str:
        """The sense of an item, if the model has it."""
        sense = next((sense for kind, sense in KINDS.items() if isinstance(item, kind)), None)
        if sense is None:
            kind = type(item).__name__
            raise ValueError(f"{self.name} takes a text, a picture or a sound, got {kind}")
        if sense not in self.senses:
            has = " and ".join(sorted(self.senses))
            raise ValueError(f"{self.name} has {has}, no sense for {sense}")
        return sense
