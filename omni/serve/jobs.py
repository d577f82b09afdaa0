"""Long work in processes of its own: what waits, what runs and how it ended, on disk.

A job belongs to nobody: a service that ends, or is killed, leaves it running, and the next one over
the same folder goes on following it.
"""

import json
import os
import signal
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

MOST = 100
"""jobs that wait"""
SHELL = "/bin/sh"
WRAPPER = 'trap : TERM INT; "$@"; code=$?; echo $code > "$0.part"; mv "$0.part" "$0"'
"""of a shell, which lives as long as the command, and writes down how it ended"""
TABLE = """CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT, words TEXT, state TEXT, stopping INTEGER,
    pid INTEGER, born REAL, code INTEGER, made REAL, ended REAL)"""
COLUMNS = "id, kind, words, state, code, made, ended"


@dataclass(frozen=True)
class Job:
    """One job.

    Attributes:
        kind: what it does, in a word.
        words: the command.
        state: queued, running, done, failed or cancelled.
        code: with which it exited; None where that is not known.
        made, ended: seconds since 1970.
    """

    id: int
    kind: str
    words: list[str]
    state: str
    code: int | None
    made: float
    ended: float | None


class Jobs:
    """The jobs of a folder; `limit` of them run at once.

    Args:
        environment: variables that commands have beside those of this process.
    """

    def __init__(self, folder: Path, limit: int = 1, environment: Mapping[str, str] = {}) -> None:
        self.folder, self.limit, self.environment = folder, limit, environment
        folder.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(folder / "jobs.sqlite", timeout=10, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(TABLE)
        self._children: set[int] = set()
        """to be waited for, or they stay as zombies"""

    def close(self) -> None:
        """Lets go of the folder; what runs goes on."""
        self._db.close()

    def add(self, kind: str, words: Sequence[str]) -> Job:
        """Puts a command at the end of the queue. Raises `ValueError` for one too many."""
        if sum(job.state == "queued" for job in self.all()) >= MOST:
            raise ValueError(f"at most {MOST} jobs may wait")
        values = kind, json.dumps([*words]), time.time()
        made = self._db.execute(
            "INSERT INTO jobs (kind, words, state, stopping, made) VALUES (?, ?, 'queued', 0, ?)",
            values,
        )
        self.poll()
        job = self.get(made.lastrowid or 0)
        assert job
        return job

    def all(self) -> list[Job]:
        """Every job, the newest first."""
        return [*map(_job, self._db.execute(f"SELECT {COLUMNS} FROM jobs ORDER BY id DESC"))]

    def get(self, id: int) -> Job | None:
        """One of them."""
        found = self._db.execute(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (id,)).fetchone()
        return found and _job(found)

    def log(self, id: int, start: int = 0, limit: int = 1 << 16) -> tuple[str, int]:
        """What a job has said from byte `start` on, `limit` bytes at most, and where that ends."""
        try:
            with self._path(id, "log").open("rb") as file:
                file.seek(start)
                said = file.read(limit)
        except FileNotFoundError:  # it waits
            return "", start
        return said.decode(errors="replace"), start + len(said)

    def cancel(self, id: int) -> None:
        """Asks a job to end, so that it can save what it has; when asked again, kills it."""
        self._db.execute(
            "UPDATE jobs SET state = 'cancelled', ended = ? WHERE id = ? AND state = 'queued'",
            (time.time(), id),
        )
        row = self._db.execute(
            "SELECT pid, born, stopping FROM jobs WHERE id = ? AND state = 'running'", (id,)
        ).fetchone()
        if row and _lives(*row[:2]):
            self._db.execute("UPDATE jobs SET stopping = 1 WHERE id = ?", (id,))
            with suppress(ProcessLookupError):
                os.killpg(row[0], signal.SIGKILL if row[2] else signal.SIGTERM)

    def poll(self) -> None:
        """Notes what has ended, and starts what can begin."""
        self._children = {pid for pid in self._children if not os.waitpid(pid, os.WNOHANG)[0]}
        running = self._db.execute(
            "SELECT id, pid, born, stopping FROM jobs WHERE state = 'running'"
        ).fetchall()
        for id, pid, born, stopping in running:
            lives = _lives(pid, born)  # before the code is looked for: it may end just now
            code = self._code(id)
            if code is None and lives:
                continue
            state = "cancelled" if stopping else "done" if code == 0 else "failed"
            self._db.execute(
                "UPDATE jobs SET state = ?, code = ?, ended = ? WHERE id = ?",
                (state, code, time.time(), id),
            )
        while self._start():
            pass

    def _start(self) -> bool:
        """Starts the next one, if there is one and its turn has come."""
        # One statement, so that two services over one folder do not start it twice.
        row = self._db.execute(
            "UPDATE jobs SET state = 'running' WHERE id = (SELECT min(id) FROM jobs WHERE "
            "state = 'queued') AND (SELECT count(*) FROM jobs WHERE state = 'running') < ? "
            "RETURNING id, words",
            (self.limit,),
        ).fetchone()
        if row is None:
            return False
        id, words = row
        log, write = str(self._path(id, "log")), os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        pid = os.posix_spawn(
            SHELL,
            [SHELL, "-c", WRAPPER, str(self._path(id, "code")), *json.loads(words)],
            {**os.environ, "PYTHONUNBUFFERED": "1", **self.environment},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, write, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        self._children.add(pid)
        born = psutil.Process(pid).create_time()
        self._db.execute("UPDATE jobs SET pid = ?, born = ? WHERE id = ?", (pid, born, id))
        return True

    def _code(self, id: int) -> int | None:
        path = self._path(id, "code")
        return int(path.read_text()) if path.exists() else None

    def _path(self, id: int, ending: str) -> Path:
        return (self.folder / f"job-{id}.{ending}").absolute()


def _job(row: tuple[Any, ...]) -> Job:
    id, kind, words, *rest = row
    return Job(id, kind, json.loads(words), *rest)


def _lives(pid: int | None, born: float | None) -> bool:
    """Whether it is still the process that was started: numbers are given out again."""
    if pid is None or born is None:  # its service was killed as it started it
        return False
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - born) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
