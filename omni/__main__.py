"""The command line: `python -m omni`, installed as `omni`."""

from omni.interrupt import interruptible


def main() -> None:
    """Run one command."""
    with interruptible("omni"):
        from omni.command import run  # takes seconds, in which Ctrl-C is heard already

        run()


if __name__ == "__main__":
    main()
