"""The page in a real browser, where there is one: it is drawn without an error, and does what a reader asks of it."""

import os
import shutil

import numpy as np
import pytest

from tests.checkpoints import run, written
from tests.recipes import Draw, gpt2

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="no chromium with its chromedriver is installed")

ZERO, LARGE = "transformer.h.2.mlp.c_fc.weight", "transformer.h.4.attn.c_attn.weight"
HOSTILE = "</script><img src=x onerror=document.title='obeyed'>"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The address of a page about a transformer with two faults, and a tensor whose name is markup."""
    folder = tmp_path_factory.mktemp("page")
    model = gpt2(Draw())
    model[ZERO][:] = 0
    model[LARGE] *= 10
    model[f"{HOSTILE}.weight"] = Draw(1).normal(16, 16, std=0.25)
    model["mask"] = np.ones(3, np.int64)
    path = written(folder / "gpt2.safetensors", model)
    assert run("check", path, "--report", f"html={folder / 'page.html'}").status == 1
    return (folder / "page.html").as_uri()


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """A browser with an empty profile; it finds its own driver at no address of the network."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER, env={**os.environ, "SE_OFFLINE": "true"}))
    yield driver
    driver.quit()


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=["desk-light", "phone-dark"])
def browser(started, page, request):
    """The page, opened at a width and in a colour scheme."""
    width, scheme = request.param
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    started.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    started.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    started.get(page)
    return started


def one(browser, selector):
    return browser.find_element("css selector", selector)


def every(browser, selector):
    return browser.find_elements("css selector", selector)


def names(browser):
    """The tensors that the table shows."""
    return [cell.text for cell in every(browser, "tbody td.name")]


def test_it_opens_without_an_error_and_without_sideways_scrolling(browser):
    assert browser.get_log("browser") == []
    assert browser.title.startswith("Do not train from this")
    wide, seen = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= seen
    assert all(chart.size["width"] <= seen for chart in every(browser, ".chart svg"))


def test_a_name_of_markup_is_text(browser):
    assert not every(browser, "img")
    assert any(HOSTILE in name for name in names(browser))


@pytest.mark.parametrize("tensor", [ZERO, LARGE])
def test_the_marked_tensor_is_named_under_the_pointer(browser, tensor):
    from selenium.webdriver import ActionChains

    mark = one(browser, f'[aria-label^="{tensor}"]')
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", mark)
    assert not one(browser, "#tip").is_displayed()
    ActionChains(browser).move_to_element(mark).perform()
    assert one(browser, "#tip").text.startswith(f"{tensor}: gain")
    ActionChains(browser).move_to_element(one(browser, "h1")).perform()
    assert not one(browser, "#tip").is_displayed()


def test_search_finds_by_every_word(browser):
    one(browser, "input[type=search]").send_keys("H.2. c_fc weight")
    assert names(browser) == [ZERO]
    assert one(browser, "output").text == "1 of 78 tensors"
    assert len(every(browser, "tbody svg path")) == 1


def test_only_what_has_findings_can_be_shown(browser):
    one(browser, "input[type=checkbox]").click()
    assert set(names(browser)) == {ZERO, LARGE}
    one(browser, "tbody a.badge").click()
    assert "checkpoint-1-finding-" in browser.current_url
    assert every(browser, "article:target")


def test_a_column_sorts_by_the_keyboard_and_says_so(browser):
    from selenium.webdriver import Keys

    button = next(found for found in every(browser, "th button") if found.text.startswith("std"))
    heading = button.find_element("xpath", "..")
    for order, sign in (("ascending", 1), ("descending", -1)):
        button.send_keys(Keys.ENTER)
        assert heading.get_attribute("aria-sort") == order
        values = [float(row.find_elements("css selector", "td")[3].text or "nan") for row in every(browser, "tbody tr")]
        numbers = [value for value in values if value == value]
        assert numbers == sorted(numbers, key=lambda value: sign * value)
        assert values[-1] != values[-1]  # what was not judged comes last either way


def test_colours_stand_out_from_the_paper(browser):
    """WCAG 2.1 asks for a contrast of 4.5 for text and of 3 for graphics."""
    colours = {"paper": 0.0, "ink": 4.5, "dim": 4.5, "error": 4.5, "warning": 4.5, "info": 4.5, "good": 4.5}
    colours |= {"measured": 3.0, "expected": 3.0}
    script = "return getComputedStyle(document.documentElement).getPropertyValue(arguments[0])"
    light = {name: luminance(browser.execute_script(script, f"--{name}")) for name in colours}
    for name, least in colours.items():
        low, high = sorted((light[name], light["paper"]))
        assert (high + 0.05) / (low + 0.05) >= least, name


def luminance(colour):
    """The relative luminance of ``#rrggbb``, as WCAG defines it."""
    parts = [int(colour.strip()[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))
