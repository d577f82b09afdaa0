"""Jobs end as their command ends, outlive the service, and are only what a person might type."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from fastapi.testclient import TestClient

from omni.serve.app import create
from omni.serve.jobs import Job, Jobs
from omni.serve.orders import FIELDS, Evaluate, Train, flag
from omni.serve.settings import Settings

GENTLE = "trap 'echo saved; exit 75' TERM; echo begun; while :; do sleep 0.05; done"
STUBBORN = "trap '' TERM; echo begun; while :; do sleep 0.05; done"


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    made = Jobs(tmp_path)
    yield made
    for job in made.all():
        made.cancel(job.id)
        made.cancel(job.id)
    made.close()


def until(jobs: Jobs, id: int, done: Callable[[Job], bool]) -> Job:
    """The job once it is so."""
    for _ in range(2000):
        jobs.poll()
        job = jobs.get(id)
        assert job
        if done(job):
            return job
        time.sleep(0.01)
    raise AssertionError(f"never: {job}")


def begun(jobs: Jobs, id: int) -> Job:
    return until(jobs, id, lambda job: "begun" in jobs.log(id)[0])


def ended(jobs: Jobs, id: int) -> Job:
    return until(jobs, id, lambda job: job.ended is not None)


def test_one_after_the_other_with_code_and_log(jobs: Jobs) -> None:
    first = jobs.add("index", ["sh", "-c", "echo one; echo two >&2; sleep 0.2"])
    second = jobs.add("index", ["sh", "-c", "exit 3"])
    assert (first.state, second.state) == ("running", "queued")
    first, second = ended(jobs, first.id), ended(jobs, second.id)
    assert (first.state, first.code, second.state, second.code) == ("done", 0, "failed", 3)
    assert first.ended and second.ended and first.ended <= second.ended
    said, end = jobs.log(first.id)
    assert said == "one\ntwo\n" and jobs.log(first.id, end) == ("", end)
    assert jobs.log(first.id, 4)[0] == "two\n"
    assert [job.id for job in jobs.all()] == [second.id, first.id]


def test_one_that_is_cancelled_may_save_and_when_asked_again_is_killed(jobs: Jobs) -> None:
    gentle, waiting = (jobs.add("train", ["sh", "-c", GENTLE]) for _ in range(2))
    jobs.cancel(waiting.id)
    begun(jobs, gentle.id)
    jobs.cancel(gentle.id)
    told = ended(jobs, gentle.id)
    assert (told.state, told.code) == ("cancelled", 75) and "saved" in jobs.log(gentle.id)[0]
    assert ended(jobs, waiting.id).state == "cancelled" and jobs.log(waiting.id) == ("", 0)
    stubborn = begun(jobs, jobs.add("train", ["sh", "-c", STUBBORN]).id)
    jobs.cancel(stubborn.id)
    time.sleep(0.2)
    jobs.poll()
    assert (still := jobs.get(stubborn.id)) and still.state == "running"
    jobs.cancel(stubborn.id)
    assert ended(jobs, stubborn.id).state == "cancelled"


def test_a_service_that_is_killed_leaves_them_running_and_the_next_goes_on(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from omni.serve.jobs import Jobs\n"
        "jobs = Jobs(Path(sys.argv[1]))\n"
        "jobs.add('index', ['sh', '-c', 'echo begun; sleep 1; echo end; exit 4'])\n"
        "jobs.add('index', ['true'])\n"
        "print('ready', flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert owner.stdout and owner.stdout.readline() == b"ready\n"
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    jobs = Jobs(tmp_path)
    jobs.poll()
    assert [job.state for job in jobs.all()] == ["queued", "running"]
    assert (told := ended(jobs, 1)).code == 4 and told.state == "failed"
    assert jobs.log(1)[0] == "begun\nend\n" and ended(jobs, 2).state == "done"
    jobs.close()


def test_a_number_that_another_process_has_now_is_not_taken_for_the_job(jobs: Jobs) -> None:
    job = begun(jobs, jobs.add("train", ["sh", "-c", STUBBORN]).id)
    (pid,) = jobs._db.execute("SELECT pid FROM jobs WHERE id = ?", (job.id,)).fetchone()
    mine = os.getpid()
    jobs._db.execute("UPDATE jobs SET pid = ? WHERE id = ?", (mine, job.id))
    jobs.cancel(job.id)  # would end the tests
    assert (told := ended(jobs, job.id)).state == "failed" and told.code is None
    os.killpg(pid, signal.SIGKILL)
    psutil.Process(mine)


def test_words_are_those_of_the_command_and_never_a_path() -> None:
    order = Train(
        kind="train",
        preset="debug",
        name="mine",
        data="sample",
        fields={"train.steps": 3, "train.lr": 0.5, "loss.matching": 0, "data.shuffled": True},
    )
    words = order.words({"sample": Path("/somewhere/sample")})
    assert words[2:4] == ["debug", "--name"] and Path(words[1]).name == "train.py"
    assert words[4:7] == ["mine", "--data.path", "/somewhere/sample"]
    told = ["--train.steps", "3", "--train.lr", "0.5", "--loss.matching", "0", "--data.shuffled"]
    assert words[7:] == told
    assert flag("data.shuffled", False) == ["--data.no-shuffled"]
    for name, value, said in (
        ("data.path", 1, "none that may be set"),
        ("train.resume_from", 1, "none that may be set"),
        ("train.steps", 0.5, "must be int"),
        ("train.steps", True, "must be int"),
        ("data.shuffled", 1, "must be bool"),
    ):
        with pytest.raises(ValueError, match=said):
            flag(name, value)
    order = Train(kind="train", preset="debug", name="mine", fields={"train.accumulate": 0})
    with pytest.raises(ValueError, match=r"train\.accumulate must be a whole number of 1 or more"):
        order.words({})
    assert FIELDS["train.steps"] == {int} and not FIELDS["data.path"]
    with pytest.raises(ValueError, match="data must be one of sample"):
        Evaluate(kind="evaluate", run="mine", data="/etc", tasks=[]).words({"sample": Path("x")})


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A service without a model, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    app = create(Settings({}, runs=Path("runs"), jobs=1))
    with TestClient(app, base_url="http://localhost") as made:
        yield made


def test_a_training_that_is_asked_for_is_a_run_with_curves_and_samples(client: TestClient) -> None:
    fields = {"train.steps": 2, "train.log_every": 1, "train.sample_every": 2}
    order = {"kind": "train", "preset": "debug", "name": "mine", "fields": fields}
    made = client.post("/v1/jobs", json=order)
    assert made.status_code == 201 and made.json()["words"][1] == "train.py"
    where = f"/v1/jobs/{made.json()['id']}"
    for _ in range(1200):
        if (job := client.get(where).json())["ended"]:
            break
        time.sleep(0.1)
    log = client.get(f"{where}/log").json()["text"]
    assert (job["state"], job["code"]) == ("done", 0), log
    (run,) = client.get("/v1/runs").json()["runs"]
    assert (run["name"], run["step"], run["report"]) == ("mine", 2, False)
    told = client.get("/v1/runs/mine").json()
    assert [step for step, _ in told["curves"]["loss"]] == [1, 2]
    (made_then,) = told["samples"]
    assert made_then["step"] == 2 and "image.png" in made_then["files"]
    picture = client.get("/v1/runs/mine/samples/2/image.png")
    assert picture.content.startswith(b"\x89PNG")
    assert client.get("/v1/runs/mine/samples/2/captions.txt").status_code == 404
    assert client.get("/v1/runs/mine/report").status_code == 404
    Path("runs/mine/report.html").write_text("<p>figures</p>")
    report = client.get("/v1/runs/mine/report")
    assert report.text == "<p>figures</p>"
    assert "sandbox" in report.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ({"kind": "shell", "words": ["id"]}, "kind"),
        ({"kind": "train", "preset": "debug", "name": "../x"}, "name"),
        ({"kind": "train", "preset": "none", "name": "x"}, "preset must be one of"),
        ({"kind": "train", "preset": "debug", "name": "x", "fields": {"data.path": "/"}}, "fields"),
        ({"kind": "evaluate", "run": "x", "tasks": ["--out"]}, "tasks"),
        ({"kind": "index", "run": "x", "data": "/etc", "name": "y"}, "data must be one of"),
    ],
)
def test_what_may_not_be_asked_for_is_refused(client: TestClient, order: dict, said: str) -> None:
    answer = client.post("/v1/jobs", json=order)
    assert answer.status_code == 422 and said in answer.json()["error"]["message"]
    assert client.get("/v1/jobs").json()["jobs"] == []


def test_names_lead_nowhere_else(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/metrics.jsonl").write_text('{"step": 1}\n')
    for path in (
        "/v1/runs/..%2Fsecret",
        "/v1/runs/%2E%2E",
        "/v1/runs/secret",
        "/v1/runs/..%2F..%2Fsecret/report",
        "/v1/runs/a/samples/1/..%2F..%2Fconfig.json",
        "/v1/jobs/99",
        "/v1/jobs/9999999999999999999999",
        "/v1/jobs/99/log",
    ):
        assert client.get(path).status_code == 404, path
    assert client.get("/v1/jobs/1/log?start=-1").status_code in (404, 422)
