"""What computes: threads and arithmetic that the machine has."""

import os
from typing import Any

import pytest
import torch

from omni.device import autocast, describe, pick_dtype, pick_threads

CPU = torch.device("cpu")


def test_the_environment_says_how_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = len(os.sched_getaffinity(0))
    for told, expected in (("3", 3), ("5,2", 5), ("0", cores), ("many", cores), ("", cores)):
        monkeypatch.setenv("OMP_NUM_THREADS", told)
        assert pick_threads() == expected
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert pick_threads() == cores


@pytest.mark.parametrize(
    ("able", "expected"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({"avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"architecture": "aarch64"}, torch.float32),
    ],
)
def test_a_processor_without_bf16_is_not_asked_for_it(
    able: dict[str, Any], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert pick_dtype("bf16", CPU) == expected
    assert pick_dtype("fp32", CPU) == torch.float32
    with autocast("bf16", CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected
    assert pick_dtype("bf16", torch.device("cuda")) == torch.bfloat16
    assert ("no bf16" in describe("bf16", CPU)) == (expected == torch.float32)
    assert "no bf16" not in describe("fp32", CPU)


def test_a_precision_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="must be bf16 or fp32, got 'fp16'"):
        pick_dtype("fp16", CPU)
