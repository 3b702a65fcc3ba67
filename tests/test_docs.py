"""Check the pages: links and anchors, commands, promises, the generated page, a short README."""
from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields

import pytest
from conftest import REPO, run_script

from codedata import records
from codedata.config import SECTIONS
from codedata.texts import tomllib

LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
# examples, of scripts that are not here
PYTHON = re.compile(r"^ *```python.*?^ *```", re.MULTILINE | re.DOTALL)
SCRIPT = re.compile(r"(?<![\w/.-])((?:\w+/)*\w+\.py)(?=[\s`])")
COMMAND = re.compile(r"(?<![\w/.-])\w+\.py (?:[^\n#|&`]|\\\n)+")
FLAG = re.compile(r"(?<!\S)--[a-z][a-z0-9-]+")
SAMPLE = re.compile(r"(?<![\w/.])((?:samples|images)/[\w./-]+\w)")
TOOL = re.compile(r"(?<![\w/.])(tools/[\w-]+(?:\.\w+)?)")
MAKE = re.compile(r"(?:^|[`&;]) ?make ([a-z0-9_-]+(?: [a-z0-9_-]+)*)", re.MULTILINE)
SETTING = re.compile(r"`\[(\w+)\] (\w+)")
HARBORS = re.compile(r"<!-- made by .*?<!-- end -->", re.DOTALL)   # keys of a task.toml
# prompts, and files of sample projects
NOT_OURS = re.compile(r"codedata/|samples/(?:projects|repos)/")

listed = subprocess.check_output(["git", "ls-files", "*.md"], cwd=REPO, text=True).split()
PAGES = [name for name in listed if not NOT_OURS.match(name)]
FOR_USERS = [name for name in PAGES if name.startswith(("README", "docs/"))]


def read(name: str) -> str:
    return (REPO / name).read_text(encoding="utf-8")


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
            for heading in headings}


def broken_links(page) -> list[str]:
    """Return the links of a page that lead to no file, or to no heading of it."""
    broken = []
    for link in LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8"))):
        place, _, anchor = link.partition("#")
        target = page.parent / place if place else page
        leads = target.exists() and (not anchor
                                     or anchor in anchors(target.read_text(encoding="utf-8")))
        if not leads and not re.match("https?:", link):
            broken.append(link)
    return broken


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(name):
    assert broken_links(REPO / name) == []


def test_every_script_tool_and_target_that_a_page_names_exists():
    paths = ["/" + path
             for path in subprocess.check_output(["git", "ls-files"], cwd=REPO, text=True).split()]
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE)) | {
        path.stem for path in REPO.glob("*.py")}
    for name in FOR_USERS:
        text = PYTHON.sub("", read(name))
        # named from a folder that the page is about
        for script in (*SCRIPT.findall(text), *TOOL.findall(text)):
            assert any(path.endswith(f"/{script}") for path in paths), f"{name}: {script}"
        for target in " ".join(MAKE.findall(text)).split():
            assert target in targets, f"{name}: make {target}"


def test_every_sample_and_every_flag_in_a_command_that_a_page_names_exists(tmp_path):
    known = {flag for path in REPO.glob("*.py")
             for flag in re.findall("--[a-z][a-z0-9-]+",
                                    run_script(path.name, tmp_path, "--help-all").stdout)}
    for name in FOR_USERS:
        text = read(name)
        for sample in SAMPLE.findall(text):
            assert (REPO / sample).exists(), f"{name}: {sample}"
        for command in COMMAND.findall("\n".join(FENCED.findall(PYTHON.sub("", text)))):
            assert set(FLAG.findall(command)) <= known, f"{name}: {command}"


def test_every_setting_that_a_page_for_users_names_exists():
    keys = {name: {field.name.rstrip("_") for field in fields(cls)}
            for name, cls in SECTIONS.items()}
    for name in FOR_USERS:
        for section, key in SETTING.findall(HARBORS.sub("", read(name))):
            assert key in keys.get(section, key), f"{name}: [{section}] {key}"


def test_every_test_of_a_promise_exists():
    promises = tomllib.loads(read("tests/promises.toml"))["promise"]
    assert len(promises) > 50
    for promise in promises:
        for file, _, test in (name.partition("::") for name in promise["tests"]):
            assert f"def {test}(" in read(f"tests/{file}"), promise["text"]


def test_every_directory_of_a_record_stands_in_the_design():
    section = re.search(r"^## The directories\n(.*?)^## ", read("docs/design.md"), re.S | re.M)[1]
    directories = {record.directory for record in vars(records).values()
                   if isinstance(record, type) and hasattr(record, "directory")}
    assert len(directories) > 20
    assert [place for place in sorted(directories)
            if not re.search(rf"(?<![\w/]){place}/(?=[`,\]])", section)] == []


def test_every_script_and_folder_of_modules_stands_in_contributing_and_scripts_in_the_picture():
    scripts = [path.name for path in REPO.glob("*.py")]
    folders = [f"{path.parent.name}/" for path in REPO.glob("codedata/*/__init__.py")]
    contributing, picture = read("docs/contributing.md"), read("docs/pipeline.svg")
    assert len(scripts) > 10 and len(folders) > 10
    assert [name for name in scripts + folders if f"`{name}`" not in contributing] == []
    assert [name for name in scripts if f">{name}<" not in picture] == []


def test_the_readme_has_at_most_100_lines():
    assert len(read("README.md").splitlines()) <= 100


def test_the_page_of_records_is_as_the_code_says():
    done = subprocess.run([sys.executable, REPO / "tools/reference", "--check"],
                          capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
