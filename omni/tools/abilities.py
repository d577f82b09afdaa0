"""The abilities of a model as tools of MCP: texts and base64 go in and out, never paths."""

import io
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from threading import Lock
from typing import Annotated, Any

from mcp.server.mcpserver import Audio, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from omni.interface import Omni
from omni.items import Item, to_picture, to_sound
from omni.pipeline.data_url import decode_base64
from omni.pipeline.decode import read_audio, read_image
from omni.search.index import Index
from omni.search.milvus import Milvus

MAX_BASE64 = 24 << 20
"""characters of a picture or a recording"""
Text = Annotated[str, Field(min_length=1, max_length=8000)]
Picture = Annotated[str, Field(max_length=MAX_BASE64, description="PNG, JPEG or WebP as base64")]
Sound = Annotated[str, Field(max_length=MAX_BASE64, description="WAV, FLAC, Ogg or MP3 as base64")]
Count = Annotated[int, Field(ge=1, le=100)]


class Abilities:
    """Tools on one model and, where there is one, one index; one at a time is at work.

    Each raises `ValueError` for what the model cannot take.
    """

    def __init__(self, model: Omni, index: Index | Milvus | None = None) -> None:
        self.model, self.index = model, index

    def search(
        self,
        text: Text | None = None,
        image: Picture | None = None,
        audio: Sound | None = None,
        count: Count = 5,
    ) -> list[dict[str, Any]]:
        """Find what is most like a text, a picture, a recording or several of these together."""
        assert self.index is not None
        vector = self.model.embed(_item(text, image, audio)).numpy()
        (hits,) = self.index.search(vector, count)
        return [
            {
                "id": hit.id, "name": Path(hit.name).name, "sense": hit.sense,
                "score": round(hit.score, 4), "text": hit.meta.get("text", ""),
            }
            for hit in hits
        ]  # fmt: skip

    def caption(self, image: Picture, language: str = "en") -> str:
        """Say in a few words what a picture shows."""
        return self.model.generate(_item(image=image), "text", language=language)

    def transcribe(self, audio: Sound, language: str = "en") -> str:
        """Write down what a recording says."""
        return self.model.generate(_item(audio=audio), "text", language=language)

    def ask(self, question: Text, image: Picture | None = None, audio: Sound | None = None) -> str:
        """Answer a question about a picture or a recording."""
        if image is None and audio is None:
            raise ValueError("a question must be about an image or audio, got neither")
        return self.model.answer(_item(question, image, audio))

    def draw(self, text: Text | None = None, audio: Sound | None = None, seed: int = 0) -> Image:
        """Draw a picture of a text or a recording."""
        file = io.BytesIO()
        self.model.generate(_item(text, audio=audio), "image", seed=seed).save(file, "PNG")
        return Image(data=file.getvalue(), format="png")

    def speak(self, text: Text | None = None, image: Picture | None = None, seed: int = 0) -> Audio:
        """Say a text, or what a picture shows, as WAV."""
        import soundfile

        made, file = self.model.generate(_item(text, image), "audio", seed=seed), io.BytesIO()
        soundfile.write(file, made.samples, made.sample_rate, format="wav")
        return Audio(data=file.getvalue(), format="wav")

    def embed(
        self, text: Text | None = None, image: Picture | None = None, audio: Sound | None = None
    ) -> list[float]:
        """The unit vector of a text, a picture, a recording or several of these together."""
        return self.model.embed(_item(text, image, audio))[0].tolist()


def make_server(abilities: Abilities) -> MCPServer:
    """An MCP server of these tools; of `search` only where there is an index."""
    server, lock = MCPServer("omni", log_level="WARNING"), Lock()
    tools: list[Callable] = [
        abilities.caption, abilities.transcribe, abilities.ask, abilities.draw, abilities.speak,
        abilities.embed,
    ]  # fmt: skip
    for tool in [abilities.search, *tools] if abilities.index is not None else tools:
        server.add_tool(_alone(tool, lock))
    return server


def _alone(tool: Callable, lock: Lock) -> Callable:
    """A tool that waits for the others, and tells the assistant what it cannot take."""

    @wraps(tool)
    def run(**arguments: Any) -> Any:
        try:
            with lock:
                return tool(**arguments)
        except ValueError as error:
            raise ToolError(str(error)) from error

    return run


def _item(text: str | None = None, image: str | None = None, audio: str | None = None) -> Item:
    """One item of all that is given. Raises `ValueError` for nothing, and what is no base64."""
    found: list[Any] = [] if text is None else [text]
    if image is not None:
        found.append(to_picture(read_image(_bytes("image", image))))
    if audio is not None:
        found.append(to_sound(*read_audio(_bytes("audio", audio))))
    if not found:
        raise ValueError("a text, an image or audio must be given, got none")
    return found[0] if len(found) == 1 else tuple(found)


def _bytes(sense: str, data: str) -> bytes:
    try:
        return decode_base64(data)
    except ValueError as error:
        raise ValueError(f"{sense} {error}") from error
