"""Check the pages: links and anchors, the tests of promises, directories, the generated page."""
import re
import subprocess
import sys

import pytest
from conftest import REPO
from programs import run_program

from codedata.texts import tomllib

FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
# prompts, and files of sample projects
NOT_OURS = re.compile(r"codedata/|samples/(?:projects|repos)/")

PAGES = [name for name in subprocess.check_output(
    ["git", "ls-files", "*.md"], cwd=REPO, text=True).split() if not NOT_OURS.match(name)]


def read(name: str) -> str:
    return (REPO / name).read_text()


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
            for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(name):
    page, broken = REPO / name, []
    for link in re.findall(r"\[[^\]\n]*\]\(([^)\s]+)\)", FENCED.sub("", read(name))):
        place, _, anchor = link.partition("#")
        target = page.parent / place if place else page
        leads = target.exists() and (not anchor
                                     or anchor in anchors(target.read_text()))
        if not leads and not re.match("https?:", link):
            broken.append(link)
    assert broken == []


def test_every_test_of_a_promise_exists():
    promises = tomllib.loads(read("tests/promises.toml"))["promise"]
    assert len(promises) > 50
    for promise in promises:
        for file, _, test in (name.partition("::") for name in promise["tests"]):
            assert f"def {test}(" in read(f"tests/{file}"), promise["text"]


def test_the_page_of_records_is_as_the_code_says():
    done = run_program(sys.executable, REPO / "tools/reference", "--check")
    assert (done.returncode, done.stderr) == (0, "")
