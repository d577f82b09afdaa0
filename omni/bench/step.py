"""How fast this machine trains, beside how fast it multiplies matrices."""

import torch

from omni.device import describe, pick_device, pick_dtype, pick_threads
from omni.presets import PRESETS
from omni.training.meter import measure_peak
from omni.training.pace import measure_step

PEAK_SECONDS = 4.0


def run(preset: str, device_name: str) -> None:
    """Prints triplets/s, FLOPs a triplet and the share of the measured matmul peak.

    Raises `ValueError` for a preset that does not exist.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}; got {preset!r}")
    device = pick_device(device_name)
    torch.set_num_threads(pick_threads())
    config = PRESETS[preset]()
    rate, flops, size = measure_step(config, device)
    peak = measure_peak(device, pick_dtype(config.train.precision, device), PEAK_SECONDS)
    print(f"device              {describe(config.train.precision, device)}")
    print(f"batch               {size} samples")
    print(f"training            {rate:.1f} triplets/s")
    print(f"FLOPs               {flops / 1e9:.2f} G a triplet (matrix products and convolutions)")
    print(f"sustained           {rate * flops / 1e9:.0f} GFLOP/s")
    print(f"matmul peak         {peak / 1e9:.0f} GFLOP/s")
    print(f"share of the peak   {rate * flops / peak:.1%}")
