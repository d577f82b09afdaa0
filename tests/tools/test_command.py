"""`omni mcp` as an assistant starts it: over standard input and output."""

import asyncio
import subprocess
import sys
from pathlib import Path

import numpy as np
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from omni.interface import Omni


def test_an_assistant_starts_it_and_leaves(tiny_run: Path, tiny_model: Omni) -> None:
    arguments = ["-m", "omni", "mcp", "--model", str(tiny_run)]

    async def talk() -> list[float]:
        started = stdio_client(StdioServerParameters(command=sys.executable, args=arguments))
        async with Client(started) as client:
            answer = await client.call_tool("embed", {"text": "red circle"})
            assert not answer.is_error and answer.structured_content
            return answer.structured_content["result"]

    found = asyncio.run(talk())
    assert np.allclose(found, tiny_model.embed("red circle")[0].numpy(), atol=1e-5)


def test_what_is_missing_is_named() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "omni", "mcp", "--model", "nowhere"], capture_output=True, text=True
    )
    assert ran.returncode == 2 and "nowhere" in ran.stderr and "Traceback" not in ran.stderr
