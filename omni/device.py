"""What computes: the device, its threads, and the numbers that it multiplies."""

import os

import torch

PRECISIONS = ("bf16", "fp32")


def pick_device(name: str) -> torch.device:
    """A device by name; "auto" is the GPU if there is one. Raises `ValueError` for another."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.mps.is_available())}
    kind, _, index = name.partition(":")
    if not (index or "0").isdecimal() or int(index or 0) >= count.get(kind, 0):
        there = ", ".join(kind for kind in count if count[kind])
        raise ValueError(f"device must be auto or one that there is ({there}), got {name!r}")
    return torch.device(name)


def pick_threads() -> int:
    """As many as $OMP_NUM_THREADS says, or else as there are cores that this process may use."""
    told = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(told) if told.isdecimal() and int(told) else len(os.sched_getaffinity(0))


def pick_dtype(precision: str, device: torch.device) -> torch.dtype:
    """What matrices are multiplied in: bf16 where that is asked for and the device has it.

    A processor without such arithmetic would imitate it, at a sixtieth of the speed of fp32
    (docs/log.md). Raises `ValueError` for a precision that there is not.
    """
    if precision not in PRECISIONS:
        known = " or ".join(PRECISIONS)
        raise ValueError(f"train.precision must be {known}, got {precision!r}")
    able = device.type != "cpu" or any(
        torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16")
    )
    return torch.bfloat16 if precision == "bf16" and able else torch.float32


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """What forward passes run in. Raises `ValueError` as `pick_dtype` does."""
    half = pick_dtype(precision, device) == torch.bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=half)


def describe(precision: str, device: torch.device) -> str:
    """Device, threads and arithmetic, in words. Raises `ValueError` as `pick_dtype` does."""
    dtype = pick_dtype(precision, device)
    told = f"{device}, {torch.get_num_threads()} threads, {str(dtype).removeprefix('torch.')}"
    lacking = precision == "bf16" and dtype == torch.float32
    return told + " (this processor has no bf16: several times slower)" * lacking
