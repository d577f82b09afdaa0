"""Command line of the evaluation: `python -m eval.run [MODEL [TASK ...]]`."""

from collections.abc import Sequence

from omni.interrupt import advise, interruptible

ADVICE = "nothing is written; judges that are trained are kept for the next time"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the tasks and write the three files."""
    with interruptible("eval"), advise(ADVICE):
        from eval.command import measure  # takes seconds, in which Ctrl-C is heard already

        measure(arguments)


if __name__ == "__main__":
    main()
