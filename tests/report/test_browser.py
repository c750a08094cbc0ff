"""The pages in a real browser: nothing asked for, nothing complained of, everything there, and tables that sort."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from albench.report import write_pair

from .browser import MISSING, PROGRAM, Browser
from .conftest import COMMAND, pair_of

pytestmark = [pytest.mark.skipif(PROGRAM is None, reason=MISSING), pytest.mark.timeout(120)]

WIDTHS = [320, 1440]
UNFOLD = "document.querySelectorAll('details').forEach(one => one.open = true)"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
PICTURES = "[...document.images].map(one => one.complete && one.naturalWidth > 0)"
TABLE = "[...document.querySelectorAll('table')].find(one => one.caption.textContent.startsWith('Every point'))"
COLUMN = "[...%s.tBodies[0].rows].map(row => row.cells[%d].dataset.value ?? row.cells[%d].textContent)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture(scope="module")
def pages(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    pair = write_pair(pair_of(), tmp_path_factory.mktemp("pair"), command=COMMAND)
    return {"one run": rendered / "index.html", "two runs": pair}


def cells(browser: Browser, column: int) -> list[str]:
    found: list[str] = browser.run(COLUMN % (TABLE, column, column))
    return found


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("page", ["one run", "two runs"])
def test_it_fits_asks_for_nothing_and_complains_of_nothing(
    browser: Browser, pages: dict[str, Path], page: str, width: int, dark: bool
) -> None:
    browser.open(pages[page], width=width, dark=dark)
    browser.run(UNFOLD)
    assert browser.run("innerWidth") == width
    assert browser.run(OVERFLOW) == 0, "no sideways scrolling, whatever is folded out"
    assert browser.complaints == []
    own = pages[page].as_uri()
    assert {url for url in browser.requests if not url.startswith("data:")} == {own}
    pictures = browser.run(PICTURES)
    assert all(pictures)
    assert len(pictures) == pages[page].read_text(encoding="utf-8").count("<img ")
    ground = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (not dark)


def test_a_column_head_sorts_by_number_there_and_back(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["one run"], width=1440)
    browser.run(UNFOLD)
    heads = browser.run(f"[...{TABLE}.tHead.rows[0].cells].map(one => one.textContent)")
    instances, accuracy = heads.index("n"), heads.index("accuracy")
    printed = cells(browser, instances)
    assert sorted(printed) != sorted(printed, key=float) != printed, "or the test shows nothing"
    click = f"{TABLE}.tHead.rows[0].cells[%d].querySelector('button').click()"
    state = f"{TABLE}.tHead.rows[0].cells[%d].getAttribute('aria-sort')"
    for order, expected in (
        ("ascending", sorted(printed, key=float)),
        ("descending", sorted(printed, key=float, reverse=True)),
        (None, printed),
    ):
        browser.run(click % instances)
        assert browser.run(state % instances) == order
        assert cells(browser, instances) == expected
    for _ in range(2):  # what is missing comes last, upwards and downwards
        browser.run(click % accuracy)
        found = cells(browser, accuracy)
        missing = [text == "–" for text in found]
        assert any(missing)
        assert missing == sorted(missing)
    browser.run(click % instances)
    assert browser.run(state % accuracy) is None, "one column is sorted by at a time"


def test_a_keyboard_reaches_the_heads_and_sorts(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["two runs"], width=320)
    first = "document.querySelector('table.sortable thead button')"
    browser.run(f"{first}.closest('.scroll').focus()")  # where the tab key comes by
    browser.press("Tab", 9)
    assert browser.run(f"document.activeElement === {first}")
    browser.press("Enter", 13, "\r")
    assert browser.run(f"{first}.closest('th').getAttribute('aria-sort')") == "ascending"
    browser.press(" ", 32, " ")
    assert browser.run(f"{first}.closest('th').getAttribute('aria-sort')") == "descending"


def test_without_scripts_the_page_is_whole(browser: Browser, pages: dict[str, Path]) -> None:
    texts = {}
    for disabled in (True, False):
        browser.send("Emulation.setScriptExecutionDisabled", value=disabled)
        browser.open(pages["one run"], width=1440)
        texts[disabled] = browser.send("Accessibility.getFullAXTree")["nodes"]
    names = {
        disabled: [node["name"]["value"] for node in nodes if node["role"]["value"] == "cell"]
        for disabled, nodes in texts.items()
    }
    assert len(names[True]) > 100
    assert names[True] == names[False]
    assert not any(node["role"]["value"] == "button" for node in texts[True]), "no button that does nothing"


def test_on_paper_it_is_dark_on_white_and_nothing_but_the_bulk_is_folded(
    browser: Browser, pages: dict[str, Path]
) -> None:
    """Whoever reads in dark mode prints too: light letters would be hard to read on paper."""
    browser.open(pages["one run"], width=800, dark=True)
    dark = {"name": "prefers-color-scheme", "value": "dark"}
    browser.send("Emulation.setEmulatedMedia", media="print", features=[dark])
    try:
        names = "['--ink', '--soft', '--accent', '--card', '--good']"
        colours = browser.run(f"{names}.map(one => getComputedStyle(document.documentElement).getPropertyValue(one))")
        assert colours == ["#1f2328", "#57606a", "#0b5fad", "#f6f8fa", "#1a6b3c"]
        folded = "[...document.querySelectorAll('details:not(.bulk) > :not(summary)')]"
        heights = browser.run(f"{folded}.map(one => one.getBoundingClientRect().height)")
        assert heights
        assert min(heights) > 0
        assert browser.run("[...document.querySelectorAll('.bulk')].every(one => one.offsetHeight === 0)")
    finally:
        browser.send("Emulation.setEmulatedMedia", media="")
