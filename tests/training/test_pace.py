"""What a step costs, beside that of another run."""

from dataclasses import replace

import pytest
import torch

from omni.presets import debug
from omni.training import pace


def test_a_step_of_fewer_objectives_takes_fewer_operations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("WARM_UP", "COUNTED", "FEW"):
        monkeypatch.setattr(pace, name, 1)
    config = replace(debug(), data=replace(debug().data, batch_size=8, extra_texts=0))
    fewer = replace(config, loss=replace(config.loss, matching=0.0, image_flow=0.0))
    found = pace.compare_steps([config, fewer, config], torch.device("cpu"))
    (_, whole), (_, less), (_, again) = found
    assert less < whole == again
    assert min(seconds for seconds, _ in found) > 0
