"""Every field of OpenAI's: done, or refused by its name; what asks for nothing is taken."""

import base64
import io
import json
from pathlib import Path
from typing import Any, get_type_hints

import httpx
import numpy as np
import openai
import pytest
import soundfile
from openai.types import embedding_create_params, image_generate_params
from openai.types.audio import speech_create_params, transcription_create_params
from openai.types.chat import completion_create_params
from PIL import Image

from omni.interface import Omni
from omni.items import Audio, read
from omni.serve.audio import Speech, Transcription
from omni.serve.body import IGNORED
from omni.serve.chat import Chat
from omni.serve.embeddings import Embeddings
from omni.serve.images import Generation
from tests.serve.conftest import Service

CHAT, DRAW, SPEAK = "/v1/chat/completions", "/v1/images/generations", "/v1/audio/speech"
EMBED, WRITE = "/v1/embeddings", "/v1/audio/transcriptions"
BODIES = {
    CHAT: {"messages": [{"role": "user", "content": "red circle"}]},
    DRAW: {"prompt": "red circle", "steps": 1},
    SPEAK: {"input": "red circle"},
    EMBED: {"input": "red circle"},
}
NOTHING = {
    CHAT: [
        {"response_format": {"type": "text"}}, {"logprobs": False}, {"top_logprobs": 0}, {"n": 1},
        {"tool_choice": "none"}, {"tool_choice": "auto"}, {"tools": []}, {"functions": []},
        {"function_call": "none"}, {"parallel_tool_calls": False}, {"parallel_tool_calls": True},
        {"logit_bias": {}}, {"modalities": ["text"]}, {"stop": []}, {"stop": ""}, {"stream": False},
        {"verbosity": "medium"},
    ],
    DRAW: [
        {"quality": "auto"}, {"quality": "standard"}, {"background": "opaque"}, {"stream": False},
        {"background": "auto"}, {"partial_images": 0}, {"response_format": "b64_json"}, {"n": 1},
        {"output_compression": 100}, {"size": "auto"}, {"output_format": "png"},
    ],
    SPEAK: [{"speed": 1}, {"speed": 1.0}, {"instructions": ""}, {"stream_format": "audio"}],
    EMBED: [{"encoding_format": "float"}, {"dimensions": 64}],
}  # fmt: skip
REFUSED = {
    CHAT: [
        {"n": 2}, {"n": 0}, {"logprobs": True}, {"top_logprobs": 3}, {"logit_bias": {"5": 1}},
        {"response_format": {"type": "json_object"}}, {"modalities": ["text", "audio"]},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "{x}"}}},
        {"audio": {"voice": "alloy", "format": "wav"}}, {"functions": [{"name": "f"}]},
        {"tools": [{"type": "function", "function": {"name": "f"}}]}, {"tool_choice": "required"},
        {"function_call": {"name": "f"}}, {"web_search_options": {}}, {"verbosity": "high"},
        {"max_tokens": 0}, {"max_completion_tokens": -1}, {"temperature": 3}, {"top_k": 4},
        {"stream_options": {"include_usage": True}}, {"moderation": {"model": "m"}},
    ],
    DRAW: [
        {"n": 9}, {"response_format": "url"}, {"background": "transparent"}, {"quality": "hd"},
        {"quality": "low"}, {"style": "vivid"}, {"stream": True}, {"partial_images": 2},
        {"output_format": "gif"}, {"output_format": "svg"}, {"output_compression": 101},
        {"output_compression": 50}, {"size": "64x32"}, {"size": "4096x4096"}, {"size": "8x8"},
        {"size": "large"}, {"frame_count": 2}, {"svg": {"model": "m"}}, {"complexity": "high"},
    ],
    SPEAK: [
        {"speed": 1.5}, {"instructions": "whisper"}, {"stream_format": "sse"},
        {"response_format": "aac"},
    ],
    EMBED: [{"encoding_format": "int8"}, {"dimensions": 7}],
}  # fmt: skip
HINTS = {
    CHAT: {"temperature": 0.7, "top_p": 0.5, "seed": 3, "user": "me", "metadata": {"a": "b"},
           "store": True, "service_tier": "flex", "presence_penalty": 1, "frequency_penalty": -1,
           "reasoning_effort": "high", "safety_identifier": "x", "prompt_cache_key": "x"},
    DRAW: {"moderation": "low", "user": "me"},
    SPEAK: {"voice": "alloy"},
    EMBED: {"user": "me"},
}  # fmt: skip


def cases(table: dict[str, list[dict[str, Any]]]) -> list:
    return [
        pytest.param(path, fields, id=f"{path[4:]} {json.dumps(fields)[:50]}")
        for path, some in table.items()
        for fields in some
    ]


def ask(service: Service, path: str, fields: dict[str, Any]) -> httpx.Response:
    return service.client.post(path, json=BODIES[path] | fields)


@pytest.mark.parametrize(("path", "fields"), cases(NOTHING))
def test_a_value_that_asks_for_nothing_is_taken(service: Service, path: str, fields: dict) -> None:
    answer = ask(service, path, fields)
    assert answer.status_code == 200, answer.text
    assert IGNORED not in answer.headers


@pytest.mark.parametrize(("path", "fields"), cases(REFUSED))
def test_a_value_that_is_not_followed_is_refused_by_name(
    service: Service, path: str, fields: dict
) -> None:
    answer = ask(service, path, fields)
    assert answer.status_code == 422
    (name,) = fields
    assert answer.json()["error"]["message"].startswith(name)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Chat, completion_create_params.CompletionCreateParamsStreaming),
        (Generation, image_generate_params.ImageGenerateParamsStreaming),
        (Speech, speech_create_params.SpeechCreateParams),
        (Embeddings, embedding_create_params.EmbeddingCreateParams),
        (Transcription, transcription_create_params.TranscriptionCreateParamsStreaming),
    ],
)
def test_every_field_of_openai_is_known_or_refused_and_null_is_none(ours: Any, theirs: Any) -> None:
    known = {field.alias or name for name, field in ours.model_fields.items()}
    named = {name.removesuffix("[]") for name in known}
    unknown = get_type_hints(theirs).keys() - named
    later = {"complexity", "frame_duration_ms", "svg", "keywords", "languages"}
    assert unknown <= later  # these are refused, as any that nobody knows


@pytest.mark.parametrize(
    ("path", "ours"), [(CHAT, Chat), (DRAW, Generation), (SPEAK, Speech), (EMBED, Embeddings)]
)
def test_null_is_as_good_as_left_out(service: Service, path: str, ours: Any) -> None:
    nulls = dict.fromkeys([*ours.model_fields, "a_field_of_next_year"])
    answer = service.client.post(path, json=nulls | BODIES[path])
    assert answer.status_code == 200 and IGNORED not in answer.headers


@pytest.mark.parametrize("path", HINTS)
def test_what_makes_no_difference_is_said(service: Service, path: str) -> None:
    answer, plain = ask(service, path, HINTS[path]), ask(service, path, {})
    assert answer.headers[IGNORED] == ", ".join(sorted(HINTS[path]))
    if path == CHAT:
        assert answer.json()["choices"] == plain.json()["choices"]
    else:
        assert answer.status_code == 200


def test_earlier_turns_may_be_anything_and_are_said_to_be_ignored(
    service: Service, png: str
) -> None:
    user = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": png}}]}
    alone = service.client.post(CHAT, json={"messages": [user]})
    assert IGNORED not in alone.headers
    earlier = [
        {"role": "system", "content": ""},
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": ""},
        {"role": "user", "content": "x" * 20_000},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": None, "refusal": None, "audio": None, "annotations": []},
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "function"}]},
        {"role": "tool", "content": "7", "tool_call_id": "a"},
        {"role": "function", "content": None, "name": "f"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {"role": "user", "content": []},
        {"role": "user", "content": [{"type": "file", "file": {"file_id": "a"}}]},
    ]
    for turns in ([*earlier] * 20, *([turn] for turn in earlier)):
        answer = service.client.post(CHAT, json={"messages": [*turns, user]})
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"] == alone.json()["choices"]
        assert answer.headers[IGNORED] == "earlier messages"


def test_an_empty_text_beside_media_is_none(service: Service, png: str) -> None:
    picture = {"type": "image_url", "image_url": {"url": png, "detail": "high"}}
    alone = service.client.post(CHAT, json={"messages": [{"role": "user", "content": [picture]}]})
    for empty in ("", " ", "\n"):
        parts = [{"type": "text", "text": empty}, picture, {"type": "text", "text": empty}]
        body = {"messages": [{"role": "user", "content": parts}]}
        assert service.client.post(CHAT, json=body).json()["choices"] == alone.json()["choices"]
        found = service.client.post("/v1/search", json={"text": empty, "image": png, "k": 1})
        assert found.status_code == 200
    for nothing in ("", " ", None, [], [{"type": "text", "text": ""}]):
        answer = service.client.post(
            CHAT, json={"messages": [{"role": "user", "content": nothing}]}
        )
        assert answer.status_code == 422 and "must hold a text, a picture" in answer.text
    assert service.client.post("/v1/search", json={"text": ""}).status_code == 422


def test_an_answer_ends_where_it_is_to(service: Service, png: str) -> None:
    user = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": png}}]}

    def chat(**fields: Any) -> dict[str, Any]:
        return service.client.post(CHAT, json={"messages": [user]} | fields).json()

    whole = chat()["choices"][0]["message"]["content"]
    count = chat()["usage"]["completion_tokens"]
    assert count > 1 and chat(max_tokens=count)["choices"][0]["finish_reason"] == "stop"
    for limit in ({"max_tokens": 1}, {"max_completion_tokens": 1, "max_tokens": 9}):
        cut = chat(**limit)
        assert cut["choices"][0]["finish_reason"] == "length"
        assert cut["usage"]["completion_tokens"] == 1
        assert whole.startswith(text := cut["choices"][0]["message"]["content"]) and text != whole
    word = whole[2:4]
    for stop in (word, ["never seen", word]):
        ended = chat(stop=stop)["choices"][0]
        assert ended["message"]["content"] == whole[: whole.index(word)]
        assert ended["finish_reason"] == "stop"


def test_a_stream_tells_its_usage_where_it_is_asked_to(service: Service) -> None:
    def chunks(**fields: Any) -> list[dict[str, Any]]:
        lines = ask(service, CHAT, {"stream": True} | fields).text.split("\n\n")
        assert lines[-2:] == ["data: [DONE]", ""]
        return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]

    assert all("usage" not in chunk for chunk in chunks())
    *texts, last = chunks(stream_options={"include_usage": True})
    assert [chunk["usage"] for chunk in texts] == [None, None]
    assert last["choices"] == [] and last["usage"]["completion_tokens"] > 0
    assert chunks(max_tokens=1)[-1]["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_a_picture_has_the_form_and_the_size_that_are_asked_for(
    service: Service, form: str
) -> None:
    answer = ask(service, DRAW, {"size": "256x256", "output_format": form}).json()
    picture = Image.open(io.BytesIO(base64.b64decode(answer["data"][0]["b64_json"])))
    assert picture.format == form.upper() and picture.size == (256, 256)
    assert answer["output_format"] == form and answer["size"] == "256x256"
    if form != "png":
        less = ask(service, DRAW, {"output_format": form, "output_compression": 1}).json()
        assert len(less["data"][0]["b64_json"]) < len(answer["data"][0]["b64_json"])


@pytest.mark.parametrize(
    ("form", "media_type", "begin", "rate"),
    [
        ("wav", "audio/wav", b"RIFF", 16_000),
        ("flac", "audio/flac", b"fLaC", 16_000),
        ("mp3", "audio/mpeg", b"", 16_000),
        ("opus", "audio/ogg", b"OggS", 24_000),
        ("pcm", "audio/pcm", b"", 24_000),
    ],
)
def test_speech_has_the_form_that_is_asked_for(
    service: Service, tiny_model: Omni, form: str, media_type: str, begin: bytes, rate: int
) -> None:
    answer = ask(service, SPEAK, {"response_format": form})
    assert answer.headers["content-type"] == media_type and answer.content.startswith(begin)
    kind = {"format": "RAW", "subtype": "PCM_16", "samplerate": rate, "channels": 1}
    raw = kind if form == "pcm" else {}
    samples, found = soundfile.read(io.BytesIO(answer.content), **raw)
    expected = tiny_model.generate("red circle", to="audio")
    seconds = len(expected.samples) / expected.sample_rate
    assert found in (rate, 48_000) and abs(len(samples) / found - seconds) < 0.2
    level = np.sqrt(np.square(expected.samples).mean())
    assert np.sqrt(np.square(samples).mean()) == pytest.approx(level, rel=0.3)


def write(service: Service, sound: Path, *pairs: tuple[str, str]) -> httpx.Response:
    """A transcription, by a form of these fields."""
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return service.client.post(WRITE, files={"file": ("a.wav", sound.read_bytes())}, data=fields)


def test_a_transcript_has_the_form_that_is_asked_for(
    service: Service, tiny_model: Omni, things: Path
) -> None:
    path = things / "thing-0.wav"
    text = tiny_model.generate(read(path), to="text")
    assert text

    def form(name: str) -> httpx.Response:
        return write(service, path, ("response_format", name))

    assert form("json").json() == {"text": text}
    assert form("text").text == text
    whole = form("verbose_json").json()
    sound = read(path)
    assert isinstance(sound, Audio)
    seconds = len(sound.samples) / sound.sample_rate
    assert whole["text"] == text and whole["duration"] == pytest.approx(seconds)
    assert whole["task"] == "transcribe" and whole["language"] == "en"
    (segment,) = whole["segments"]
    assert segment == {"id": 0, "start": 0, "end": pytest.approx(seconds), "text": text}
    milliseconds = f"{round(seconds * 1000):04}"
    end = f"00:00:0{milliseconds[:-3]}"
    assert form("srt").text == f"1\n00:00:00,000 --> {end},{milliseconds[-3:]}\n{text}\n"
    vtt = form("vtt")
    assert vtt.headers["content-type"].startswith("text/vtt")
    assert vtt.text == f"WEBVTT\n\n00:00:00.000 --> {end}.{milliseconds[-3:]}\n{text}\n"


@pytest.mark.parametrize(
    ("pairs", "name"),
    [
        ([("response_format", "diarized_json")], "response_format"),
        ([("response_format", "xml")], "response_format"),
        ([("timestamp_granularities[]", "segment")], "response_format must be verbose_json"),
        ([("timestamp_granularities[]", "word")], "timestamp_granularities[]"),
        ([("include[]", "logprobs")], "include[]"),
        ([("known_speaker_names[]", "a")], "known_speaker_names[]"),
        ([("known_speaker_references[]", "a")], "known_speaker_references[]"),
        ([("chunking_strategy[type]", "server_vad")], "chunking_strategy[type]"),
        ([("chunking_strategy", "none")], "chunking_strategy"),
        ([("stream", "true"), ("response_format", "srt")], "response_format must be json"),
        ([("stream", "perhaps")], "stream"),
        ([("languages[]", "en")], "languages[]"),
        ([("temperature", "warm")], "temperature"),
        ([("language", "xx")], ""),
    ],
)
def test_a_transcript_of_another_form_is_refused_by_name(
    service: Service, things: Path, pairs: list, name: str
) -> None:
    answer = write(service, things / "thing-0.wav", *pairs)
    assert answer.status_code == 422
    assert answer.json()["error"]["message"].startswith(name)


def test_a_transcript_is_taken_with_fields_that_ask_for_nothing(
    service: Service, things: Path
) -> None:
    path = things / "thing-0.wav"
    nothing = [("stream", "false"), ("chunking_strategy", "auto"), ("response_format", "json")]
    answer = write(service, path, *nothing)
    assert answer.status_code == 200 and IGNORED not in answer.headers
    segments = [("timestamp_granularities[]", "segment"), ("response_format", "verbose_json")]
    assert write(service, path, *segments).status_code == 200
    hinted = write(service, path, ("prompt", "shapes"), ("temperature", "0"))
    assert hinted.status_code == 200 and hinted.headers[IGNORED] == "prompt, temperature"


def test_openais_client_is_given_a_transcript_as_events(
    service: Service, tiny_model: Omni, things: Path
) -> None:
    path = things / "thing-0.wav"
    text = tiny_model.generate(read(path), to="text")
    with openai.OpenAI(api_key="none", base_url=f"{service.url}/v1", max_retries=0) as client:
        events = [*client.audio.transcriptions.create(model="tiny", file=path, stream=True)]
    told = [event.model_dump(include={"type", "delta", "text"}) for event in events]
    assert told == [
        {"type": "transcript.text.delta", "delta": text},
        {"type": "transcript.text.done", "text": text},
    ]


def test_many_inputs_are_embedded_and_token_ids_refused_with_a_remedy(
    service: Service, tiny_model: Omni
) -> None:
    texts = [f"red circle {number}" for number in range(300)]
    data = service.client.post(EMBED, json={"input": texts}).json()["data"]
    assert [one["index"] for one in data] == [*range(300)]
    expected = tiny_model.embed([texts[0], texts[150], texts[299]]).numpy()
    got = np.array([data[i]["embedding"] for i in (0, 150, 299)])
    assert np.abs(got - expected).max() < 1e-5
    for ids in ([1, 2], [[1, 2], [3]], [[1], []], [[1], "a"], [0.5]):
        answer = service.client.post(EMBED, json={"input": ids})
        assert answer.status_code == 422
        assert "check_embedding_ctx_length=False" in answer.json()["error"]["message"]


def test_media_are_read_in_every_spelling_on_every_route(service: Service, things: Path) -> None:
    """What they are is seen from how they begin, and not from what is said of them."""
    picture = base64.b64encode((things / "thing-0.png").read_bytes()).decode().rstrip("=")
    sound = base64.encodebytes((things / "thing-0.wav").read_bytes()).decode()
    image, audio = (
        f"DATA:image/jpg;charset=utf-8;BASE64,{picture}",
        f"data:audio/X-WAV;base64,{sound}",
    )
    for path, body in (
        (EMBED, {"input": [{"image": image}, {"audio": audio}]}),
        ("/v1/search", {"image": image, "audio": audio}),
    ):
        assert service.client.post(path, json=body).status_code == 200
    parts = [
        {"type": "image_url", "image_url": {"url": image}},
        {"type": "input_audio", "input_audio": {"data": sound, "format": "WAV"}},
    ]
    for some in (parts, [parts[1] | {"input_audio": {"data": audio}}]):
        body = {"messages": [{"role": "user", "content": some}]}
        assert service.client.post(CHAT, json=body).status_code == 200
