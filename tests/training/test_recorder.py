"""A step that must not count does not, and leaves no trace but its line in incidents.jsonl."""

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from omni.training import recorder
from omni.training.recorder import PATIENCE, Recorder, Verdict

NAN, INF = math.nan, math.inf
LOSSES = {"contrastive/image-text": 1.0, "image_flow": 0.5}


def judge(it: Recorder, step: int, norm: float = 1.0, **changed: Any) -> Verdict:
    losses = changed.get("losses", {})
    parts = changed.get("parts", {"shared": norm, "flows.image": 0.1})
    return it.judge(step, LOSSES | losses, norm, parts, [f"cats/{step}", f"dogs/{step}"])


def trained(run: Path, steps: int = 40, **arguments: Any) -> Recorder:
    it, chance = Recorder(run, **arguments), random.Random(0)
    assert {judge(it, step, chance.uniform(0.5, 2)) for step in range(steps)} == {Verdict.ACCEPT}
    return it


def incidents(run: Path) -> list[dict[str, Any]]:
    lines = (run / recorder.FILE).read_text().splitlines()
    return [json.loads(line, parse_constant=pytest.fail) for line in lines]


@pytest.mark.parametrize(
    ("fault", "kind", "what"),
    [
        ({"losses": {"image_flow": NAN}, "norm": NAN}, "non-finite loss", ["image_flow"]),
        ({"losses": {"image_flow": INF}}, "non-finite loss", ["image_flow"]),
        (
            {"norm": INF, "parts": {"shared": 1.0, "flows.image": INF}},
            "non-finite gradient",
            ["flows.image"],
        ),
        ({"norm": NAN, "parts": {"shared": NAN, "rest": 1.0}}, "non-finite gradient", ["shared"]),
        ({"norm": 200.0}, "spike", []),
    ],
)
def test_a_poisoned_step_is_skipped_and_named_and_changes_nothing(
    tmp_path: Path, fault: dict[str, Any], kind: str, what: list[str]
) -> None:
    it = trained(tmp_path)
    before = json.dumps(it.state()["norms"])
    assert judge(it, 40, **fault) is Verdict.SKIP
    assert json.dumps(it.state()["norms"]) == before
    (told,) = incidents(tmp_path)
    assert (told["step"], told["kind"], told["what"]) == (40, kind, what)
    assert told["samples"] == ["cats/40", "dogs/40"]
    assert told["norm"] == (200.0 if kind == "spike" else None if fault.get("norm") else 1.0)
    assert 0.5 < told["median"] < 2
    # One step is lost, not the next 128; and that one is counted again.
    assert judge(it, 41) is Verdict.ACCEPT
    assert json.dumps(it.state()["norms"]) != before


def test_after_a_spike_all_goes_on_as_without_it(tmp_path: Path) -> None:
    (tmp_path / "clean").mkdir()
    clean, spiked = trained(tmp_path / "clean"), trained(tmp_path)
    assert judge(spiked, 40, 100.0) is Verdict.SKIP
    chance, seen = random.Random(1), []
    for step in range(41, 241):
        norm = chance.choice([0.7, 1.1, 1.3, 19.0, 30.0])
        seen.append(judge(clean, step, norm))
        assert judge(spiked, step, norm) is seen[-1]
        assert spiked.norms == clean.norms
    assert {Verdict.ACCEPT, Verdict.SKIP} <= {*seen}  # the comparison could have failed


def test_what_is_usual_must_be_known_before_a_norm_is_a_spike(tmp_path: Path) -> None:
    it = trained(tmp_path, recorder.KNOWN - 1)
    assert judge(it, 20, 1000.0) is Verdict.ACCEPT
    assert judge(it, 21, 1000.0) is Verdict.SKIP


def test_the_window_moves_with_the_run(tmp_path: Path) -> None:
    it = Recorder(tmp_path)
    norms = [1000 * 0.97**step for step in range(400)]
    assert {judge(it, step, norm) for step, norm in enumerate(norms)} == {Verdict.ACCEPT}
    assert list(it.norms) == norms[-recorder.WINDOW :]


def test_five_in_a_row_roll_back_and_the_count_begins_anew(tmp_path: Path) -> None:
    it = trained(tmp_path)
    checkpoint = json.loads(json.dumps(it.state()))
    for step in range(40, 43):
        judge(it, step)
    # Four and one that counts are not five in a row.
    four = [judge(it, step, NAN) for step in range(43, 47)]
    assert {*four} == {Verdict.SKIP} and judge(it, 47) is Verdict.ACCEPT
    five = [judge(it, step, NAN) for step in range(48, 48 + PATIENCE)]
    assert five == [Verdict.SKIP] * 4 + [Verdict.ROLL_BACK]
    it.roll_back(52, 39, checkpoint)
    assert list(it.norms) == checkpoint["norms"]
    assert (it.skipped, it.rollbacks) == (0, 1)
    again = [judge(it, step, NAN) for step in range(40, 40 + PATIENCE)]
    assert again == five
    back = [line for line in incidents(tmp_path) if line["kind"] == "rolled back"]
    assert [(line["step"], line["to"]) for line in back] == [(52, 39)]


def test_the_state_is_exact_through_json_and_continues_a_row(tmp_path: Path) -> None:
    it = trained(tmp_path)
    judge(it, 40, 1 / 3)
    judge(it, 41, NAN)
    state = it.state()
    again = Recorder(tmp_path, json.loads(json.dumps(state)), write=False)
    assert [n.hex() for n in again.norms] == [n.hex() for n in it.norms]
    assert again.state() == state
    rows = [[judge(one, step, NAN) for step in range(42, 46)] for one in (it, again)]
    assert rows[0] == rows[1] == [Verdict.SKIP] * 3 + [Verdict.ROLL_BACK]


def test_ranks_that_do_not_write_decide_the_same(tmp_path: Path) -> None:
    writer, other = Recorder(tmp_path), Recorder(tmp_path / "nowhere", write=False)
    chance = random.Random(2)
    norms = [chance.choice([1.0, 1.5, 0.8, 90.0, NAN, INF]) for _ in range(300)]
    verdicts = [(judge(writer, s, n), judge(other, s, n)) for s, n in enumerate(norms)]
    assert all(a is b for a, b in verdicts) and len({*verdicts}) > 1
    assert writer.state() == other.state()
    assert not (tmp_path / "nowhere").exists()


def test_a_resumed_run_reports_no_incident_twice(tmp_path: Path) -> None:
    def run(it: Recorder, steps: range) -> None:
        for step in steps:
            judge(it, step, NAN if step % 7 == 3 else 1.0)

    whole = tmp_path / "whole"
    whole.mkdir()
    unbroken = Recorder(whole)
    run(unbroken, range(40))
    killed = Recorder(tmp_path)
    run(killed, range(20))
    checkpoint = json.loads(json.dumps(killed.state()))
    run(killed, range(20, 33))
    with (tmp_path / recorder.FILE).open("a") as file:
        file.write('{"number": 6, "step"')  # torn by the kill
    resumed = Recorder(tmp_path, checkpoint)
    assert [line["step"] for line in incidents(tmp_path)] == [3, 10, 17]
    run(resumed, range(20, 40))
    assert incidents(tmp_path) == incidents(whole) and len(incidents(whole)) == 6
    # A run that starts again from nothing starts its file again.
    Recorder(tmp_path)
    assert incidents(tmp_path) == []


def test_the_keys_are_not_made_while_all_is_well(tmp_path: Path) -> None:
    it, asked = Recorder(tmp_path), []
    keys = (asked.append(key) or key for key in ["a/1", "a/2"])
    it.judge(0, LOSSES, 1.0, {}, keys)
    assert asked == []
    it.judge(1, LOSSES, NAN, {}, keys)
    assert asked == incidents(tmp_path)[0]["samples"] == ["a/1", "a/2"]
