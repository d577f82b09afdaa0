"""What a step costs, beside what the device could do; and measures of a batch and a gradient."""

import time
from collections.abc import Callable, Iterable
from functools import cache

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from omni.batch import Batch
from omni.training.leak import peak

PARTS = (
    "encoders.image",
    "encoders.audio",
    "encoders.text",
    "shared",
    "text_decoder",
    "flows.image",
    "flows.audio",
    "matching",
)
REST = "rest"
GB = 1e9


def count_flops(work: Callable[[], object], network: nn.Module) -> int:
    """FLOPs of matrix products and convolutions in a forward and backward pass on the side.

    Afterwards the network is as it was, without gradients. What is computed twice, to save
    memory, counts twice; of a layer that ranks share (DTensor) the whole is counted.
    """
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    # Without the stance the counter would switch torch.compile off, for good and silently.
    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        work()
    for name, buffer in network.named_buffers():
        buffer.data.copy_(buffers[name])
    network.zero_grad(set_to_none=True)
    return counter.get_total_flops()


@cache
def measure_peak(device: torch.device, dtype: torch.dtype, seconds: float = 0.5) -> float:
    """FLOP/s of the fastest square matrix product of two sizes, each tried for half the time."""
    best, generator = 0.0, torch.Generator(device)
    for size in (1024, 2048) if device.type == "cpu" else (4096, 8192):
        a = torch.randn(size, size, device=device, generator=generator).to(dtype)
        end = time.monotonic() + seconds / 2
        while True:
            best = max(best, 2 * size**3 / time_calls(lambda a=a: a @ a, 5, device))
            if time.monotonic() > end:
                break
    return best


def time_calls(work: Callable[[], object], times: int, device: torch.device) -> float:
    """Seconds of one of so many calls, in the mean."""
    synchronize = torch.get_device_module(device).synchronize
    synchronize()
    start = time.perf_counter()
    for _ in range(times):
        work()
    synchronize()
    return (time.perf_counter() - start) / times


def peak_memory(device: torch.device) -> float:
    """GB that tensors on a GPU, or this process on a CPU, have held at most."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GB
    return peak() / 1000


def forget_peak(device: torch.device) -> None:
    """What a GPU has held until now does not count."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def padding(batch: Batch) -> dict[str, float]:
    """Share of padding among a batch's audio samples and text tokens.

    Waits for the device: to be asked before the batch goes there.
    """
    parts = {sense: part for sense, part in batch.parts.items() if sense != "image"}
    return {s: 1 - int(part.lengths.sum()) / part.data.numel() for s, part in parts.items()}


def by_part(parameters: Iterable[tuple[str, Tensor]]) -> dict[str, list[Tensor]]:
    """The gradients of each part of the network, of parameters by name."""
    gradients: dict[str, list[Tensor]] = {}
    for name, parameter in parameters:
        if parameter.grad is not None:
            part = next((part for part in PARTS if name.startswith(f"{part}.")), REST)
            gradients.setdefault(part, []).append(parameter.grad)
    return gradients
