"""Several processes for one evaluation: torchrun --nproc-per-node 2 -m eval.run RUN.

Batches are cut as in one process and dealt out in turns, and what is made of them is gathered in
their order: the figures are those of one process, to the last digit. All else is computed by all
alike; the first writes and prints. What a file brings is read by each of them for itself.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from omni.batch import Tokens

RANK, COUNT = (int(os.environ.get(name, alone)) for name, alone in (("RANK", 0), ("WORLD_SIZE", 1)))
"""number of this process, and how many there are, as torchrun says"""


def device() -> str:
    """The GPU of this process, or the CPU where there is none."""
    number = os.environ.get("LOCAL_RANK", "0")
    return f"cuda:{number}" if torch.cuda.is_available() else "cpu"


@contextmanager
def joined() -> Iterator[None]:
    """The processes know each other, by gloo, as long as this lasts."""
    if COUNT == 1:
        yield
        return
    dist.init_process_group("gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def first_alone() -> Iterator[None]:
    """The first process goes ahead, the others after it: the files that it writes they read."""
    if RANK > 0:
        dist.barrier()
    yield
    if RANK == 0 and COUNT > 1:
        dist.barrier()


def spread(
    function: Callable, batches: Sequence, told: Callable[[int, int], None] = lambda *_: None
) -> list:
    """What a function that returns a list or a tensor makes of each batch, as `map` would.

    `told` hears how many of how many batches this process has done.
    """
    mine, own = batches[RANK::COUNT], []
    for number, batch in enumerate(mine, 1):
        own.append(function(batch))
        told(number, len(mine))
    if COUNT == 1:
        return own
    gathered: list[Any] = [None] * COUNT
    dist.all_gather_object(gathered, [alone(made) for made in own])
    return [gathered[i % COUNT][i // COUNT] for i in range(len(batches))]


def alone(made: Any) -> Any:
    """The same, to be sent: on the CPU, and without the batch that its tensors are rows of."""
    if isinstance(made, list):
        return [alone(one) for one in made]
    if isinstance(made, Tokens):
        return Tokens(alone(made.x), alone(made.mask))
    return made.cpu().clone() if isinstance(made, Tensor) else made
