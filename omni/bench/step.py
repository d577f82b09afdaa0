"""How fast this machine trains, beside how fast it multiplies matrices."""

import os
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from omni.interface import pick_device
from omni.network import Network
from omni.pipeline.loader import Loader
from omni.presets import PRESETS
from omni.training.losses import Step
from omni.training.optim import make_average, make_optimizers, step_all

WARM_UP, COUNTED = 6, 10


def run(preset: str, device_name: str) -> None:
    """Prints triplets/s, FLOPs a triplet and the share of the measured matmul peak.

    Raises `ValueError` for a preset that does not exist.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}; got {preset!r}")
    device = pick_device(device_name)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    rate, flops, size = measure_step(preset, device)
    peak = measure_peak(device, torch.bfloat16)
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
    loader = Loader(config.data, config.train.seed)
    tokenizer = loader.learn_tokenizer(config.model.text.vocab_size)
    network = Network(config.model, tokenizer.vocab_size).to(device).train()
    optimizers = make_optimizers(network, config.train)
    average = make_average(network, config.train.ema)
    generator, past = torch.Generator(device), {}
    batches = loader.batches(0, WARM_UP + 2 * COUNTED, tokenizer, config.model)
    half = config.train.precision == "bf16"

    def step() -> None:
        nonlocal past
        batch = next(batches).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            forward = Step(network, batch, config.loss, generator, past)
            losses = forward.losses()
        config.loss.total(losses).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.train.clip)
        step_all(optimizers, config.train.lr)
        average.update_parameters(network)
        past = forward.remember(config.loss.memory)

    _seconds(step, WARM_UP, device)
    seconds = _seconds(step, COUNTED, device)
    with FlopCounterMode(display=False) as counter:
        _seconds(step, COUNTED, device)
    size = config.data.batch_size
    return size / seconds, counter.get_total_flops() / COUNTED / size, size


def measure_peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of the fastest square matrix product of a few sizes."""
    best = 0.0
    for size in (1024, 2048) if device.type == "cpu" else (4096, 8192):
        a = torch.randn(size, size, device=device).to(dtype)
        for _ in range(4):
            best = max(best, 2 * size**3 / _seconds(lambda a=a: a @ a, 20, device))
    return best


def _seconds(work: Callable[[], object], times: int, device: torch.device) -> float:
    """Mean of so many calls."""
    synchronize = torch.get_device_module(device).synchronize
    synchronize()
    start = time.perf_counter()
    for _ in range(times):
        work()
    synchronize()
    return (time.perf_counter() - start) / times
