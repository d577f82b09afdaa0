"""What was taken for what, as scikit-learn counts it, and its picture."""

import re

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from eval.bench import Matrix
from eval.matrix import confusion, drawn


def test_shares_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truths, answers = rng.integers(0, 3, 200), rng.integers(0, 4, 200)  # the last is never true
    found = confusion("match", "any", ["a", "b", "c", "d"], truths, answers)
    wanted = confusion_matrix(truths, answers, labels=range(4), normalize="true")
    np.testing.assert_allclose(found.values, wanted, atol=1e-12)
    assert not np.allclose(found.values, found.values.T)  # rows are what it is


@pytest.mark.parametrize("size", [5, 20])
def test_every_cell_is_drawn_as_dark_as_it_is_and_says_so(size: int) -> None:
    names = [f"<{i}>" for i in range(size)]
    page = drawn(Matrix("match", "a <title>", names, names, np.eye(size)))
    shades = re.findall(r'fill-opacity="([\d.]+)"', page)
    assert len(shades) == size**2 and shades[: size + 2] == ["1.00", *["0.06"] * size, "1.00"]
    assert "<title>&lt;1&gt;, &lt;1&gt;: 1.00</title>" in page and "<0>" not in page
    assert page.count(">100<") == (size if size == 5 else 0)
