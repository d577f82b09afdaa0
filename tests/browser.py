"""Headless Chromium, driven; and what is wrong with a page that it shows, at two widths."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver

WIDTHS = (1280, 390)
"""pixels of a desktop's window and of a phone's"""
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--use-fake-device-for-media-stream",  # a microphone that beeps
    "--use-fake-ui-for-media-stream",
)
PROBE = """
const told = arguments[0], wrong = [];
const pictures = [...document.images], sounds = [...document.querySelectorAll("audio")];
pictures.forEach(picture => { picture.loading = "eager"; });
const failed = picture => wrong.push("no picture: " + picture.alt);
Promise.all([
  ...pictures.map(picture => picture.decode().catch(() => failed(picture))),
  ...sounds.map(sound => new Promise(done => {
    sound.onloadedmetadata = done;
    sound.onerror = () => done(wrong.push("no sound"));
    sound.preload = "auto";
    sound.load();
  })),
]).then(() => {
  if (document.documentElement.scrollWidth > innerWidth) wrong.push("wider than the window");
  told({width: innerWidth, pictures: pictures.length, sounds: sounds.length, wrong});
});
"""


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """A browser with its logs; skips where there is none."""
    names, driver = ("chromium", "chromium-browser", "google-chrome"), shutil.which("chromedriver")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None or driver is None:
        pytest.skip(f"needs chromedriver and one of {', '.join(names)}")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as opened:
        opened.set_script_timeout(300)
        yield opened


def look(driver: webdriver.Chrome, page: Path) -> list[dict[str, Any]]:
    """What is there at each of `WIDTHS`, and what went wrong."""
    told = []
    for width in WIDTHS:
        window = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
        driver.get(page.as_uri())
        told.append(driver.execute_async_script(PROBE))
        told[-1]["wrong"] += [one["message"] for one in driver.get_log("browser")]
    assert [one["width"] for one in told] == [*WIDTHS]
    return told
