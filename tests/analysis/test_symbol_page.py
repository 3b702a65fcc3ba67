"""The page of an analysis: the same bytes, in bounds, safe, and clicked through in a browser."""
from __future__ import annotations

import random
import re
from dataclasses import replace

import pytest
import test_analyse
from browser import block_of, wait
from test_analyse import IDS, SOURCE, TESTS, coverage

from codedata.analysis import symbol_page as page_module
from codedata.analysis.analyse import analysis_of
from codedata.analysis.symbol_page import page
from codedata.code.entities import read_sources
from codedata.records import Coverage

HOSTILE = ("</script><script>hacked(1)</script><!--<script><img src=x onerror=hacked(2)>"
           "\"'><svg onload=hacked(3)>${hacked(4)} \u202eesrever NUL\x00 ")
NAMES = [test_analyse.NAMES[0], f"tests/test_shapes.py::test_volume[{HOSTILE}]"]


@pytest.fixture
def sources(tmp_path):
    for path, text in {"shapes.py": SOURCE, "tests/test_shapes.py": TESTS, "web/a.js":
                       f"const o = {{ '{HOSTILE[:40]}'() {{}} }};\n", "<img src=x onerror=b>.py":
                       f'def kept():\n    """{HOSTILE[:-6]}"""\n', "bad.py": "def (\n"}.items():
        (tmp_path / "repo" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "repo" / path).write_text(text)
    return read_sources(tmp_path / "repo")


def measured() -> Coverage:
    return replace(coverage(names=NAMES), measured={"versions": [{"coverage": "7.0"}]})


def a_page(sources, coverage: Coverage | None = None, with_sources=True) -> bytes:
    analysis = analysis_of("own/shapes", "shapes", "c0ffee", sources, [], coverage)
    texts = {file.path: file.text for file in sources.files} if with_sources else {}
    return page(analysis, coverage, texts)


def shows(place, *texts: str) -> None:
    """Wait till a place of the page shows these texts."""
    from playwright.sync_api import expect  # for these tests alone
    for text in texts:
        expect(place).to_contain_text(text)


def test_equal_arguments_give_equal_bytes(sources):
    assert a_page(sources, measured()) == a_page(sources, measured())
    assert a_page(sources) != a_page(sources, measured())


def test_the_page_holds_what_was_measured_and_sources_as_far_as_they_fit(sources):
    html = a_page(sources, measured())
    symbols, tests = block_of(html, "symbols"), block_of(html, "tests")
    by_id = dict(zip(symbols["id"], symbols["score"], strict=True))
    assert [by_id[one] for one in IDS[:3]] == [2, 2, 1] and by_id["shapes.py::unused"] is None
    assert [[symbols["id"][i] for i in one] for one in tests["sets"]] == [IDS[:2], IDS[:3]]
    assert ["shapes.py", "python", 23, 0.8462, 5] in block_of(html, "files")
    assert b'id="block-file-' not in a_page(sources, measured(), with_sources=False)


def test_sources_that_are_too_large_in_all_are_left_out(sources):
    analysis = analysis_of("own/shapes", "shapes", "", sources, [], measured())
    noise = b"# " + random.Random(0).randbytes(6_500_000).hex().encode()
    html = page(analysis, None, {file.path: file.text + noise for file in sources.files})
    blocks = re.findall(rb'id="block-file-(\d+)">(.*?)</script>', html)
    assert sum(len(text) for _, text in blocks) <= page_module.SOURCE_BYTES and len(blocks) == 2
    assert analysis.files[int(blocks[1][0])]["path"] == "shapes.py"   # it has the highest score


def test_a_symbol_is_opened_with_its_source_callers_callees_and_tests(sources, show):
    tab = show(a_page(sources, measured()))
    names = tab.locator(".rows tr[data-at] .name")
    for i, name in enumerate(["area", "_square", "volume"]):
        shows(names.nth(i), name)
    tab.locator(".rows th.calls button").first.click()           # by callers, the most first
    shows(names.first, "area")
    tab.locator("#filter-part").select_option("none")
    shows(tab.locator(".rows"), "unused")
    assert "area" not in names.all_inner_texts()
    tab.locator(".clear").click()
    tab.get_by_role("gridcell", name="area", exact=True).click()
    wait(tab, "document.getElementById('reader').open")
    reader = tab.locator("#reader")
    shows(reader.locator(".source"), "def area(side):", "return _square(side)")
    shows(reader, "Callers: 2", "Callees: 1")
    shows(reader.locator(".tests"), NAMES[0], "onerror=hacked(2)>")
    reader.get_by_role("button", name=IDS[2]).click()            # a caller, and on to it
    wait(tab, "document.getElementById('reader-title').textContent.endsWith('volume')")
    shows(reader, "Tests that ran it: 1")
    tab.keyboard.press("Escape")
    wait(tab, "!location.href.includes('symbol=')")
    tab.locator("#files").get_by_role("button", name="shapes.py", exact=True).click()
    wait(tab, "document.getElementById('search').value === 'shapes.py'")
    shows(tab.locator("#files"), "84.6 %")


def test_texts_from_outside_are_shown_and_a_static_analysis_says_so(sources, show):
    tab = show(a_page(sources))
    overview = tab.locator("#overview")
    shows(overview, "Static: not measured", "found in Python alone: javascript")
    tab.get_by_text("1 file not, or not wholly, analysed").click()
    shows(overview, "syntax errors")
    for path, words in (("<img src=x", "onload=hacked(3)"), ("web/a.js", "</script>")):
        tab.locator("#search").fill(path)
        wait(tab, "document.querySelector('.count').textContent.startsWith('1 of')")
        tab.locator("tr[data-at='0']").click()
        wait(tab, "document.getElementById('reader').open")
        shows(tab.locator("#reader .source"), words)
        shows(tab.locator("#reader"), "the analysis is static")
        tab.keyboard.press("Escape")


def test_a_symbol_whose_source_is_left_out_names_its_place(sources, show):
    tab = show(a_page(sources, measured(), with_sources=False), f"#symbol={IDS[0]}")
    wait(tab, "document.getElementById('reader').open")
    shows(tab.locator("#reader"), "are not in this page", "shapes.py:4")
