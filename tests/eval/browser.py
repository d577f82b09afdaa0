"""A page in headless Chromium: what is wrong with it, at two widths."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

WIDTHS = (1280, 390)
"""pixels of a desktop's window and of a phone's"""
PROBE = """<script>
const wrong = [], told = top.document.createElement("pre");
addEventListener("error", event => wrong.push(event.message || event.target.tagName), true);
addEventListener("load", async () => {
  const pictures = [...document.images], sounds = [...document.querySelectorAll("audio")];
  pictures.forEach(picture => { picture.loading = "eager"; });
  const failed = picture => wrong.push("no picture: " + picture.alt);
  await Promise.all(pictures.map(picture => picture.decode().catch(() => failed(picture))));
  await Promise.all(sounds.map(sound => new Promise(done => {
    sound.onloadedmetadata = done;
    sound.onerror = () => done(wrong.push("no sound"));
    sound.preload = "auto";
    sound.load();
  })));
  if (document.documentElement.scrollWidth > innerWidth) wrong.push("wider than the window");
  told.className = "told";
  told.textContent = JSON.stringify(
    {width: innerWidth, pictures: pictures.length, sounds: sounds.length, wrong});
  top.document.body.append(told);
});
</script>"""


def look(page: str, folder: Path) -> list[dict[str, Any]]:
    """What is there at each of `WIDTHS`, and what went wrong; skips without Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip(f"needs one of {', '.join(names)}")
    inside = html.escape(page.replace("<head>", f"<head>{PROBE}", 1))
    frames = [f'<iframe width={width} height=900 srcdoc="{inside}"></iframe>' for width in WIDTHS]
    (folder / "frames.html").write_text(f"<!doctype html><body>{''.join(frames)}")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1800,1000"]
    options += ["--virtual-time-budget=100000", "--dump-dom", f"--user-data-dir={folder}/profile"]
    done = subprocess.run(
        [browser, *options, str(folder / "frames.html")], capture_output=True, text=True
    )
    found = re.findall(r'<pre class="told">(.*?)</pre>', done.stdout, re.DOTALL)
    told = sorted((json.loads(html.unescape(text)) for text in found), key=lambda t: -t["width"])
    assert [one["width"] for one in told] == [*WIDTHS], done.stderr
    return told
