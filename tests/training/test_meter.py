"""What is measured is what it is called."""

from collections.abc import Callable

import torch
from torch import nn

from omni.batch import Batch, Part
from omni.training.meter import (
    by_part,
    count_flops,
    measure_peak,
    padding,
    peak_memory,
)

CPU = torch.device("cpu")


def test_flops_are_counted_and_the_network_is_left_as_it_was() -> None:
    norm = nn.BatchNorm1d(16)
    network = nn.Sequential(nn.Linear(8, 16, bias=False), norm).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x = torch.randn(4, 8, requires_grad=True)
    seen = []

    def work() -> None:
        network(x).square().sum().backward()
        seen.append(int(norm.num_batches_tracked or 0))

    # Forward, and backward to both factors: three products of 4 x 8 x 16.
    assert count_flops(work, network) == 3 * 2 * 4 * 8 * 16
    assert seen == [1]  # control: the pass itself does change something
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x @ self.weight).relu()


def test_counting_leaves_torch_compile_switched_on() -> None:
    runs = []

    def backend(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., object]:
        return lambda *inputs: (runs.append(1), graph(*inputs))[1]

    layer, x = Layer(), torch.ones(2, 4)
    layer.compile(backend=backend)
    for expected in (1, 2):
        assert count_flops(lambda: layer(x).sum().backward(), layer) == 2 * 2 * 2 * 4 * 4
        layer(x)
        assert len(runs) == expected


def test_measuring_the_peak_draws_nothing_from_the_run() -> None:
    state = torch.get_rng_state()
    assert measure_peak(CPU, torch.float32, 0.01) > 1e7
    assert torch.equal(torch.get_rng_state(), state)


def test_the_peak_of_memory_counts_what_was_given_back() -> None:
    taken = torch.ones(50_000_000)
    assert peak_memory(CPU) > taken.nbytes / 1e9


def test_padding_is_what_no_item_has() -> None:
    rows = torch.tensor([0, 1])
    parts = {
        "image": Part(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), rows, torch.ones(2).int()),
        "audio": Part(torch.zeros(2, 10, dtype=torch.int16), rows, torch.tensor([10, 5])),
        "text": Part(torch.zeros(2, 4, dtype=torch.int64), rows, torch.tensor([1, 1])),
    }
    assert padding(Batch(2, rows, parts)) == {"audio": 0.25, "text": 0.75}


NAMES = {
    "encoders.image.stem": "encoders.image",
    "encoders.text.table": "encoders.text",
    "shared.blocks.0": "shared",
    "flows.image.shared": "flows.image",
    "log_scale": "rest",
    "sharedish": "rest",
}


def test_every_gradient_belongs_to_one_part() -> None:
    named = [(name, nn.Parameter(torch.zeros(2))) for name in NAMES for _ in range(2)]
    for _, parameter in named:
        parameter.grad = torch.randn(2)
    found = by_part([*named, ("text_decoder.frozen", nn.Parameter(torch.zeros(2)))])
    assert found.keys() == {*NAMES.values()}
    for part, gradients in found.items():
        of_part = [parameter.grad for name, parameter in named if NAMES[name] == part]
        assert [*map(id, gradients)] == [*map(id, of_part)]
    assert by_part([]) == {}
