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
from omni.training.optim import Average, make_optimizers, step_all

WARM_UP, COUNTED = 6, 10


def run(what: str, preset: str, device_name: str) -> None:
    """Prints triplets/s, FLOPs a triplet and the share of the measured matmul peak.

    Raises `ValueError` for a preset that does not exist.
    """
    assert what == "step"
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}; got {preset!r}")
    device = pick_device(device_name)
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    rate, flops, size = measure_step(preset, device)
    peak = measure_peak(device, torch.bfloat16)
    print(f"device              {device}, {threads} threads")
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
    optimizers, average = make_optimizers(network, config.train), Average(network, config.train.ema)
    generator = torch.Generator(device)
    half = config.train.precision == "bf16"

    def step(number: int) -> None:
        batch = loader.batch(number, tokenizer, config.model).to(device)
        generator.manual_seed(number)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            losses = Step(network, batch, config.loss, generator).losses()
        config.loss.total(losses).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.train.clip)
        step_all(optimizers, config.train.lr)
        average.update(network, number)

    for number in range(WARM_UP):
        step(number)
    steps = range(WARM_UP, WARM_UP + COUNTED)
    seconds = _time(lambda: [step(number) for number in steps], device)
    with FlopCounterMode(display=False) as counter:
        for number in steps:
            step(number)
    samples = COUNTED * config.data.batch_size
    return samples / seconds, counter.get_total_flops() / samples, config.data.batch_size


def measure_peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of the fastest square matrix product of a few sizes."""
    best = 0.0
    for size in (1024, 2048) if device.type == "cpu" else (4096, 8192):
        a = torch.randn(size, size, device=device).to(dtype)
        repeats = 20

        def products(a: torch.Tensor = a, repeats: int = repeats) -> None:
            for _ in range(repeats):
                torch.mm(a, a)

        products()
        for _ in range(3):
            best = max(best, 2 * size**3 * repeats / _time(products, device))
    return best


def _time(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
