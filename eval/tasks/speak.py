"""Speech: does an independent judge hear the right name in a generated recording?"""

from collections.abc import Iterator

from eval.bench import Bench
from eval.metrics import Score
from eval.tasks.draw import judged


def speak(bench: Bench) -> Iterator[tuple[str, Score]]:
    """Judged accuracy of speech made from names of `test` and from pictures of `new`."""
    yield from judged(bench, "speak", "test", ("text",), "audio")
    yield from judged(bench, "speak", "new", ("image", "direct image"), "audio")
