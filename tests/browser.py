"""Open pages in a headless Chromium, found by name, for tests marked `chromium`."""
import base64
import hashlib
import json
import re
import shutil
import time
import zlib

import pytest


# a parameter, as every test with the fixture has its mark then
@pytest.fixture(scope="module", params=[pytest.param("chromium", marks=pytest.mark.chromium)])
def chromium():
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                None)
    assert path, "no chromium on this machine (Debian: apt-get install chromium)"
    from playwright.sync_api import sync_playwright  # for these tests alone
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, chromium_sandbox=False,
                                       args=["--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture
def show(chromium, tmp_path):
    """Return show(html, hash, width=…, scheme=…), which opens a page. At the end nothing may have
    gone wrong or out in any.
    """
    contexts, wrong = [], []

    def opened(html: bytes, anchor: str = "", width: int = 1300, scheme: str = "light",
               height: int = 900):
        file = tmp_path / f"{hashlib.sha256(html).hexdigest()[:12]}.html"
        file.write_bytes(html)
        context = chromium.new_context(viewport={"width": width, "height": height},
                                       color_scheme=scheme)
        contexts.append(context)
        context.add_init_script("globalThis.hacked = n => { console.error('hacked', n); };"
                                "addEventListener('securitypolicyviolation', e => "
                                "console.error(e.violatedDirective));")
        tab = context.new_page()
        tab.on("console", lambda message: wrong.append(message.text))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("dialog", lambda dialog: (wrong.append("a dialog"), dialog.dismiss()))
        tab.on("request", lambda request: request.url.split("#")[0] == file.as_uri()
               or request.url.startswith("data:")
               or wrong.append(f"asked for {request.url}"))
        tab.goto(file.as_uri() + anchor)
        wait(tab, "performance.getEntriesByName('ready').length > 0 || "
                  "!!document.querySelector('[role=alert]')")
        return tab

    opened.wrong = wrong
    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def block_of(html: bytes, name: str):
    """Return the data of a compressed block of a page."""
    text = re.search(rb'id="block-%s">(.*?)</script>' % name.encode(), html)[1]
    return json.loads(zlib.decompress(base64.b64decode(text)))


def wait(tab, expression: str) -> None:
    """Wait till it is true in the page. (Playwright's own way to wait compiles a text, which the
    page refuses.)
    """
    end = time.monotonic() + 10
    while not tab.evaluate(expression):
        assert time.monotonic() < end, f"not so after 10 s: {expression}"
        time.sleep(0.01)
