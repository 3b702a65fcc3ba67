"""Open pages in a headless Chromium, found by name, for tests marked `chromium`."""
import hashlib
import shutil

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
    """Return show(html, width=…), which opens a page. At the end none may have run a script of
    others, broken its policy or asked for a file.
    """
    contexts, wrong = [], []

    def opened(html: bytes, width: int = 1300):
        file = tmp_path / f"{hashlib.sha256(html).hexdigest()[:12]}.html"
        file.write_bytes(html)
        context = chromium.new_context(viewport={"width": width, "height": 900})
        contexts.append(context)
        context.add_init_script("globalThis.hacked = n => { console.error('hacked', n); };"
                                "addEventListener('securitypolicyviolation', e => "
                                "console.error(e.violatedDirective));")
        tab = context.new_page()
        tab.on("console", lambda message: wrong.append(message.text))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("request", lambda request: request.url.split("#")[0] == file.as_uri()
               or request.url.startswith("data:") or wrong.append(f"asked for {request.url}"))
        tab.goto(file.as_uri())
        return tab

    opened.wrong = wrong
    yield opened
    for context in contexts:
        context.close()
    assert wrong == []
