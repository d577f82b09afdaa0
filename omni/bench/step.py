"""How fast this machine trains, beside how fast it multiplies matrices."""

import math
import os

import torch

from omni.interface import pick_device
from omni.pipeline.loader import Loader
from omni.presets import PRESETS
from omni.training.meter import by_part, count_flops, measure_peak, time_calls
from omni.training.parallel import Parallel
from omni.training.state import State
from omni.training.step import Step

WARM_UP, COUNTED = 6, 10
PEAK_SECONDS = 4.0


def run(preset: str, device_name: str) -> None:
    """Prints triplets/s, FLOPs a triplet and the share of the measured matmul peak.

    Raises `ValueError` for a preset that does not exist.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}; got {preset!r}")
    device = pick_device(device_name)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    rate, flops, size = measure_step(preset, device)
    peak = measure_peak(device, torch.bfloat16, PEAK_SECONDS)
    print(f"device              {device}, {torch.get_num_threads()} threads")
    print(f"batch               {size} samples")
    print(f"training            {rate:.1f} triplets/s")
    print(f"FLOPs               {flops / 1e9:.2f} G a triplet (matrix products and convolutions)")
    print(f"sustained           {rate * flops / 1e9:.0f} GFLOP/s")
    print(f"matmul peak, bf16   {peak / 1e9:.0f} GFLOP/s")
    print(f"share of the peak   {rate * flops / peak:.1%}")


def measure_step(preset: str, device: torch.device) -> tuple[float, float, int]:
    """Samples a second, FLOPs a sample and the batch size; a step includes the optimizer."""
    config = PRESETS[preset]()
    c = config.train
    loader = Loader(config.data, c.seed)
    tokenizer = loader.learn_tokenizer(config.model.text.vocab_size)
    state = State(config, tokenizer.vocab_size, Parallel(c, device))
    batches = loader.batches(0, WARM_UP + 2 * COUNTED, tokenizer, config.model)
    half = torch.autocast(device.type, torch.bfloat16, enabled=c.precision == "bf16")

    def step() -> None:
        inputs = [next(batches)], state.parallel, state.past, half, c.seed, 1.0
        work = Step(state.module, *inputs)
        work.backward()
        work.statistics.accept()
        norms = state.parallel.norms(by_part(state.network.named_parameters()))
        state.update(c.lr, math.hypot(*norms.values()))
        state.past = work.remember()

    time_calls(step, WARM_UP, device)
    seconds = time_calls(step, COUNTED, device)
    flops = sum(count_flops(step, state.network) for _ in range(COUNTED))
    size = config.data.batch_size
    return size / seconds, flops / COUNTED / size, size
