"""What will be needed next, fetched in the background."""

import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress

from omni.pipeline.remote import Cache

Job = tuple[str, int | None, str | None]
"""URL, size and sha256"""


class Prefetcher:
    """Fetches what will be needed in one background thread.

    What fails here will fail again, and be reported, where it is needed.
    """

    def __init__(self, cache: Cache) -> None:
        self.cache, self.closed = cache, False
        self.jobs: deque[Job] = deque()
        self.changed = threading.Condition()
        threading.Thread(target=self._run, name="prefetch", daemon=True).start()

    def want(self, jobs: Iterable[Job]) -> None:
        """Fetch these, in their order, and nothing else that was wanted."""
        with self.changed:
            self.jobs = deque(jobs)
            self.changed.notify()

    def close(self) -> None:
        """Begins no other object; the one under way is not waited for."""
        with self.changed:
            self.closed = True
            self.changed.notify()

    def _run(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.jobs or self.closed)
                if self.closed:
                    return
                job = self.jobs.popleft()
            with suppress(OSError, ValueError):
                self.cache.fetch(*job)
