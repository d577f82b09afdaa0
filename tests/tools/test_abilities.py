"""An assistant finds, describes, draws and speaks through MCP as the model does."""

import asyncio
import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from mcp import Client
from PIL import Image

from omni.interface import Omni
from omni.search import Entry, Index
from omni.tools.abilities import Abilities, make_server
from omni.tools.dialogue import Dialogue, tools_of

Call = Callable[..., Any]


def ask(abilities: Abilities, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
    """What a client of MCP gets: the names of the tools, then an answer a call."""

    async def talk() -> list[Any]:
        async with Client(make_server(abilities)) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            return [names, *[await client.call_tool(*call) for call in calls]]

    return asyncio.run(talk())


@pytest.fixture
def index(tiny_model: Omni, tmp_path: Path) -> Index:
    made = Index.create(tmp_path / "index", tiny_model.config.model.embed_dim, "tiny")
    words = ["red circle", "blue square", "green triangle"]
    vectors = tiny_model.embed(words).numpy()
    made.add(
        Entry(f"/secret/{word}", {"text": v}, {"text": word, "image": f"/secret/{word}.png"})
        for word, v in zip(words, vectors, strict=True)
    )
    return made


def base64_of(file: io.BytesIO) -> str:
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture
def png() -> str:
    Image.new("RGB", (32, 32), "red").save(file := io.BytesIO(), "PNG")
    return base64_of(file)


@pytest.fixture
def wav() -> str:
    tone = np.sin(np.arange(16_000) / 20).astype(np.float32)
    soundfile.write(file := io.BytesIO(), tone, 16_000, format="wav")
    return base64_of(file)


def test_tools_give_what_the_model_gives(tiny_model: Omni, index: Index, png, wav) -> None:
    names, found, caption, transcript, picture, speech, vector = ask(
        Abilities(tiny_model, index),
        ("search", {"text": "blue square", "count": 2}),
        ("caption", {"image": png}),
        ("transcribe", {"audio": wav}),
        ("draw", {"text": "red circle", "seed": 3}),
        ("speak", {"text": "red circle"}),
        ("embed", {"text": "red circle", "image": png}),
    )
    assert {*names} == {"search", "caption", "transcribe", "ask", "draw", "speak", "embed"}
    hits = found.structured_content["result"]
    assert hits[0]["name"] == "blue square" and len(hits) == 2
    assert "/secret" not in str(found)
    red = Image.new("RGB", (32, 32), "red")
    assert caption.content[0].text == tiny_model.generate(red, "text")
    assert isinstance(transcript.content[0].text, str) and not transcript.is_error
    drawn = Image.open(io.BytesIO(base64.b64decode(picture.content[0].data)))
    expected = tiny_model.generate("red circle", "image", seed=3)
    assert np.array_equal(np.asarray(drawn), np.asarray(expected))
    assert speech.content[0].mime_type == "audio/wav"
    heard, rate = soundfile.read(io.BytesIO(base64.b64decode(speech.content[0].data)))
    assert rate == 16_000 and len(heard) > 0
    both = tiny_model.embed([("red circle", red)])[0]
    assert np.allclose(vector.structured_content["result"], both, atol=1e-5)


def test_what_is_wrong_is_told_to_the_assistant(tiny_model: Omni, png) -> None:
    names, *answers = ask(
        Abilities(tiny_model),
        ("embed", {}),
        ("caption", {"image": "/etc/a.png"}),
        ("caption", {"image": base64.b64encode(b"no picture").decode()}),
        ("ask", {"question": "what is it?"}),
        ("draw", {"text": ""}),
        ("caption", {"image": png, "language": "xx"}),
    )
    assert "search" not in names  # without an index
    told = [answer.content[0].text for answer in answers]
    assert all(answer.is_error for answer in answers)
    for text, why in zip(
        told,
        (
            "must be given, got none",
            "must be base64",
            "picture must be",
            "got neither",
            "at least 1",
            "xx",
        ),
        strict=True,
    ):
        assert why in text


def test_a_dialogue_searches_and_draws_with_the_model(tiny_model: Omni, index: Index) -> None:
    lines = iter([
        'None<eot>\n<|Commands|>: Search("blue square"), Text2Image("red circle")<eoc>', "Done.",
    ])  # fmt: skip
    tools = tools_of(tiny_model, index)
    dialogue = Dialogue(lambda text, stop: next(lines), tools, ["Search", "Text2Image"])
    assert dialogue.say("find and draw") == "Done."
    assert "<|1|>: blue square" in dialogue.turns[0].results
    assert isinstance(dialogue.made[0], Image.Image) and "Image 1" in dialogue.turns[0].results
