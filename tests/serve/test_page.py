"""The page in headless Chromium: each ability is clicked through and its result looked at."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_selenium_python import Axe
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from tests.browser import chromium
from tests.serve.conftest import Service

TABS = ("search", "describe", "draw", "speak", "runs")


class Page:
    """The page of a service in a browser."""

    def __init__(self, driver: webdriver.Chrome, service: Service) -> None:
        self.driver, self.url = driver, service.url

    def open(self, tab: str, width: int = 1280) -> None:
        self.driver.set_window_size(width, 1000)
        self.driver.get("about:blank")
        self.driver.get(f"{self.url}/#{tab}" if tab else self.url)

    def one(self, selector: str) -> WebElement:
        try:
            return WebDriverWait(self.driver, 60).until(
                lambda driver: next(iter(driver.find_elements(By.CSS_SELECTOR, selector)), None)
            )
        except TimeoutException:
            shown, told = (
                self.driver.find_element(By.TAG_NAME, "body"),
                self.driver.get_log("browser"),
            )
            raise AssertionError(f"no {selector} in:\n{shown.text}\n{told}") from None

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def press(self, *keys: str) -> WebElement:
        """What has the focus after these keys."""
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()
        return self.driver.switch_to.active_element

    def said(self, tab: str) -> str:
        """What its status line says once nothing is at work."""
        status = self.one(f"#{tab} .status")
        WebDriverWait(self.driver, 60).until(lambda _: not status.text.startswith("Working"))
        return status.text

    def loaded(self, selector: str) -> bool:
        """Whether a picture or a sound has come, and can be shown."""
        script = "const e = arguments[0]; return e.naturalWidth > 0 || e.duration > 0"
        element = self.one(selector)
        WebDriverWait(self.driver, 20).until(lambda d: d.execute_script(script, element))
        return True


@pytest.fixture(scope="module")
def page(service: Service) -> Iterator[Page]:
    with chromium() as driver:
        yield Page(driver, service)


def test_a_search_by_words_shows_pictures_and_sounds_that_can_be_played(page: Page) -> None:
    page.open("search")
    page.one("#search input[name=text]").send_keys("red circle", Keys.ENTER)
    assert page.loaded("#search .card img") and page.loaded("#search .card audio")
    assert page.said("search") == ""
    scores = [float(one.get_attribute("value") or 0) for one in page.all("#search meter")]
    assert len(scores) >= 4 and scores == sorted(scores, reverse=True)


def test_a_picture_finds_itself_and_with_a_recording_is_one_question(
    page: Page, things: Path
) -> None:
    page.open("search")
    name = (things / "thing-2.txt").read_text()
    page.one("#search input[type=file]").send_keys(str(things / "thing-2.png"))
    page.loaded("#search .given img")
    page.one("#search .go").click()
    assert page.one("#search .card .name").text == name
    assert page.all("#search .card meter")[0].get_attribute("value") is not None
    page.one("#search input[type=file]").send_keys(str(things / "thing-2.wav"))
    page.loaded("#search .given audio")
    assert len(page.all("#search .given li")) == 2
    page.one("#search .go").click()
    assert page.said("search") == "" and page.one("#search .card .name").text == name
    page.one("#search .given button").click()
    assert len(page.all("#search .given li")) == 1


def test_what_the_microphone_hears_is_a_question_as_well(page: Page) -> None:
    page.open("search")
    button = page.one("#search .microphone")
    button.click()
    WebDriverWait(page.driver, 10).until(lambda _: button.text == "Stop")
    page.driver.execute_async_script("setTimeout(arguments[0], 600)")
    button.click()
    assert page.loaded("#search .given audio")
    page.one("#search .go").click()
    page.one("#search .card")
    assert page.said("search") == ""


def test_describe_says_what_the_model_says_of_the_picture(
    page: Page, service: Service, things: Path, png: str
) -> None:
    page.open("describe")
    page.one("#describe input[type=file]").send_keys(str(things / "thing-0.png"))
    page.loaded("#describe .given img")
    page.one("#describe .go").click()
    WebDriverWait(page.driver, 60).until(lambda _: page.one("#describe .words").text)
    content = [{"type": "image_url", "image_url": {"url": png}}]
    body = {"model": "tiny", "messages": [{"role": "user", "content": content}]}
    answer = service.client.post("/v1/chat/completions", json=body).json()
    assert page.one("#describe .words").text == answer["choices"][0]["message"]["content"]


def test_draw_and_speak_show_as_many_pictures_as_asked_and_a_voice(page: Page) -> None:
    page.open("draw")
    number = page.one("#draw input[name=n]")
    number.clear()
    number.send_keys("2")
    page.one("#draw input[name=text]").send_keys("blue square", Keys.ENTER)
    assert page.loaded("#draw .card img") and len(page.all("#draw .card img")) == 2
    page.open("speak")
    page.one("#speak input[name=text]").send_keys("blue square", Keys.ENTER)
    assert page.loaded("#speak .card audio")


def test_runs_are_shown_and_jobs_are_asked_for_and_followed(page: Page) -> None:
    page.open("runs")
    page.one("#runs-list button").click()
    assert page.loaded("#run .card img") and page.loaded("#run .card audio")
    assert len(page.all("#run svg.curve")) > 5
    Select(page.one("#work [name=kind]")).select_by_value("evaluate")
    assert not page.one("#work [name=steps]").is_displayed()
    page.one("#work .go").click()
    page.one("#jobs-list button").click()
    wait = WebDriverWait(page.driver, 300)
    wait.until(lambda _: "failed (2)" in page.one("#jobs-list").text)  # no such run where we are
    wait.until(lambda _: "runs/debug is no folder of a run" in page.one("#log").text)


def test_what_the_service_refuses_is_said_in_its_words(page: Page, service: Service) -> None:
    page.open("search")
    page.one("#search .go").click()
    WebDriverWait(page.driver, 10).until(
        lambda _: "what you are looking for" in page.said("search")
    )
    page.open("draw")
    field = page.one("#draw input[name=steps]")
    page.driver.execute_script("arguments[0].max = ''; arguments[0].value = 5000", field)
    page.one("#draw input[name=text]").send_keys("circle", Keys.ENTER)
    WebDriverWait(page.driver, 10).until(lambda _: "steps" in page.said("draw"))
    assert "wrong" in str(page.one("#draw .status").get_attribute("class"))


def test_the_keyboard_alone_opens_a_tab_and_searches(page: Page) -> None:
    page.open("")  # with a tab in the address, the focus begins in that
    reached = [page.press(Keys.TAB) for _ in range(3)]
    assert [one.get_attribute("id") or one.get_attribute("textContent") for one in reached] == [
        "To the content",
        "model",
        "tab-search",
    ]
    assert page.press(Keys.ARROW_RIGHT).get_attribute("id") == "tab-describe"
    assert page.one("#describe").is_displayed() and not page.one("#search").is_displayed()
    assert page.press(Keys.ARROW_LEFT, Keys.TAB).get_attribute("name") == "text"
    page.press("red circle", Keys.ENTER)
    assert page.one("#search .card")
    reached = [page.press(Keys.TAB) for _ in range(6)]  # file, microphone, three senses, this
    assert reached[-1].text == "Search"
    assert reached[-1].value_of_css_property("outline-width") == "3px"


@pytest.mark.parametrize("width", [1280, 500])  # Chromium's windows are no narrower
def test_nothing_hinders_those_who_use_it_otherwise(page: Page, width: int) -> None:
    for tab in TABS:
        page.open(tab, width)
        page.one(f"#{tab}")
        axe = Axe(page.driver)
        axe.inject()
        assert axe.run()["violations"] == [], tab
        inside = "return document.documentElement.scrollWidth <= innerWidth"
        assert page.driver.execute_script(inside)


def test_nothing_is_asked_of_other_places_and_no_script_fails(page: Page) -> None:
    page.driver.get_log("performance")
    page.driver.get_log("browser")
    for tab in TABS:
        page.open(tab)
        page.one(f"#{tab}")
    told = [json.loads(one["message"])["message"] for one in page.driver.get_log("performance")]
    asked = {
        one["params"]["request"]["url"]
        for one in told
        if one["method"] == "Network.requestWillBeSent"
    }
    assert any(url.endswith("page.js") for url in asked)
    assert all(url.startswith((page.url, "blob:", "data:", "about:")) for url in asked)
    assert [one for one in page.driver.get_log("browser") if one["level"] == "SEVERE"] == []
