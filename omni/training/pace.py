"""How fast a run would be: a few steps of it, on the clock."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from statistics import median

import torch

from omni.batch import Batch
from omni.config import Config
from omni.device import autocast
from omni.pipeline.loader import Loader
from omni.training.meter import by_part, count_flops, time_calls
from omni.training.parallel import Parallel
from omni.training.state import State
from omni.training.step import Step

WARM_UP, COUNTED, FEW = 6, 10, 4
"""steps"""


def measure_step(config: Config, device: torch.device) -> tuple[float, float, int]:
    """Samples a second, FLOPs a sample and the batch size; a step includes the optimizer."""
    step, state = make_step(config, device)
    time_calls(step, WARM_UP, device)
    seconds = time_calls(step, COUNTED, device)
    flops = sum(count_flops(step, state.network) for _ in range(COUNTED))
    size = config.data.batch_size
    return size / seconds, flops / COUNTED / size, size


def compare_steps(configs: Sequence[Config], device: torch.device) -> list[tuple[float, float]]:
    """Seconds and FLOPs of a step of each run: the median, and the mean, of steps taken in turns.

    So whatever else the machine does is met by all of them alike; who begins changes with the turn.
    """
    made = [make_step(config, device) for config in configs]
    taken: list[list[float]] = [[] for _ in made]
    for turn in range(WARM_UP + COUNTED):
        for number in range(len(made)):
            number = (number + turn) % len(made)
            taken[number].append(time_calls(made[number][0], 1, device))
    seconds = [median(each[WARM_UP:]) for each in taken]
    return [
        (s, sum(count_flops(step, state.network) for _ in range(FEW)) / FEW)
        for s, (step, state) in zip(seconds, made, strict=True)
    ]


def make_step(config: Config, device: torch.device) -> tuple[Callable[[], None], State]:
    """What trains by one step more at every call, and what it trains."""
    c = config.train
    loader = Loader(config.data, c.seed)
    tokenizer = loader.make_tokenizer(config.model.text)
    state = State(config, tokenizer, Parallel(c, device))
    batches = loader.batches(0, WARM_UP + 2 * COUNTED, tokenizer, config.model)
    return step_on(state, batches), state


def step_on(state: State, batches: Iterator[Batch]) -> Callable[[], None]:
    """What trains by one step more at every call, on the next of these batches."""
    c = state.config.train
    half = autocast(c.precision, state.parallel.device)
    seeds = count()

    def step() -> None:
        inputs = [next(batches)], state.parallel, state.past, half, next(seeds), 1.0
        work = Step(state.module, *inputs)
        work.backward()
        work.statistics.accept()
        norms = state.parallel.norms(by_part(state.network.named_parameters()))
        state.update(c.lr, math.hypot(*norms.values()))
        state.past = work.remember()

    return step
