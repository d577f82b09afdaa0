"""OpenAI's own client gets what the model gives on the spot."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openai
import pytest
import soundfile
from PIL import Image

from omni.interface import Omni
from omni.items import read


@pytest.fixture(scope="module")
def client(service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="none", base_url=f"{service.url}/v1", max_retries=0) as client:
        yield client


def test_embeddings_are_those_of_the_model_for_every_sense(
    client: openai.OpenAI, service, tiny_model: Omni, things: Path, png: str, wav: str
) -> None:
    texts = ["red circle", "blue square", "a"]
    data = client.embeddings.create(model="tiny", input=texts).data
    assert np.abs([d.embedding for d in data] - tiny_model.embed(texts).numpy()).max() < 1e-5
    items = [{"image": png}, {"audio": wav}, {"image": png, "audio": wav}, {"text": "a"}]
    got = service.client.post("/v1/embeddings", json={"input": items}).json()["data"]
    picture, sound = read(things / "thing-0.png"), read(things / "thing-0.wav")
    expected = tiny_model.embed([picture, sound, (picture, sound), "a"]).numpy()
    assert np.abs([d["embedding"] for d in got] - expected).max() < 1e-5


def test_a_large_picture_is_fitted_as_the_model_would(service, tiny_model: Omni) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 500, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    data = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    got = service.client.post("/v1/embeddings", json={"input": {"image": data}}).json()
    expected = tiny_model.embed(Image.fromarray(pixels)).numpy()
    assert np.abs(got["data"][0]["embedding"] - expected[0]).max() < 1e-5


def test_a_recording_of_another_rate_is_heard_as_the_model_would(
    service, tiny_model: Omni, tmp_path: Path
) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 22_050), 44_100)
    data = f"data:audio/flac;base64,{base64.b64encode(path.read_bytes()).decode()}"
    got = service.client.post("/v1/embeddings", json={"input": {"audio": data}}).json()
    expected = tiny_model.embed(read(path)).numpy()
    assert np.abs(got["data"][0]["embedding"] - expected[0]).max() < 1e-5


def test_pictures_are_those_of_the_model(client: openai.OpenAI, tiny_model: Omni) -> None:
    made = client.images.generate(
        model="tiny", prompt="red circle", n=2, extra_body={"seed": 3, "steps": 4}
    )
    got = [Image.open(io.BytesIO(base64.b64decode(d.b64_json))) for d in made.data]
    expected = tiny_model.generate(["red circle"] * 2, to="image", seed=3, steps=4)
    for one, other in zip(got, expected, strict=True):
        assert np.abs(np.asarray(one).astype(int) - np.asarray(other)).max() <= 1


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_speech_is_that_of_the_model(client: openai.OpenAI, tiny_model: Omni, kind: str) -> None:
    made = client.audio.speech.create(
        model="tiny", voice="any", input="red circle", response_format=kind
    )
    samples, rate = soundfile.read(io.BytesIO(made.content))
    expected = tiny_model.generate("red circle", to="audio")
    assert rate == expected.sample_rate and samples.shape == expected.samples.shape
    # Griffin-Lim multiplies rounding: what is compared is how much there is of each frequency.
    ours, theirs = (np.abs(np.fft.rfft(x)) for x in (samples, expected.samples))
    assert np.corrcoef(ours, theirs)[0, 1] > 0.99


def test_transcripts_and_answers_are_those_of_the_model(
    client: openai.OpenAI, tiny_model: Omni, things: Path, png: str
) -> None:
    path = things / "thing-0.wav"
    expected = tiny_model.generate([read(path), read(things / "thing-0.png")], to="text")
    assert client.audio.transcriptions.create(model="tiny", file=path).text == expected[0]
    sound = base64.b64encode(path.read_bytes()).decode()
    parts = (
        {"type": "input_audio", "input_audio": {"data": sound, "format": "wav"}},
        {"type": "image_url", "image_url": {"url": png}},
    )
    for part, text in zip(parts, expected, strict=True):
        asked = [{"role": "system", "content": "be brief"}, {"role": "user", "content": [part]}]
        made = client.chat.completions.create(model="tiny", messages=asked)
        assert made.choices[0].message.content == text
        chunks = client.chat.completions.create(model="tiny", messages=asked, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text


def test_models_are_told_and_an_unknown_one_is_not_found(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError, match="there is no such model"):
        client.embeddings.create(model="other", input="a")
