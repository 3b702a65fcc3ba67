"""Check the steps that document: what they write, what makes it again, and what an agent may hand
in."""
from __future__ import annotations

import json

import pytest
from conftest import REPO, ledger_lines, run_here, write_json, write_toml
from judged import read_json
from scenario import Scenario
from stripped_tide import TIDE, a_patch, document, tide_image, write_root  # noqa: F401  fixture

from codedata.nl2repo.write_documents import document_name
from codedata.records import Document, RepoDocument, parse

PHASE, ADD = (document_name("tide", TIDE + name) for name in ("phase", "Table.add"))
GOOD = json.loads((REPO / "tests/nl2repo/documents/27.json").read_text())["content"]
BAD = json.loads((REPO / "tests/nl2repo/documents/31.json").read_text())["content"]


def read_docs(root) -> dict[str, Document]:
    return {path.stem: parse(Document, read_json(path), "")
            for path in sorted((root / "nl2repo/_docs").glob("*.json"))}


def read_whole(root) -> RepoDocument:
    return parse(RepoDocument, read_json(root / "nl2repo/tide.json"), "")


@pytest.mark.docker
def test_a_template_documents_all_that_is_stripped_and_only_what_changed_is_made_again(
        tide_image, tmp_path, capsys):  # noqa: F811
    write_root(tmp_path)
    write_json(tmp_path / "nl2repo/_patches/tide.function.00000000.json", {
        **a_patch("load", []), "id": "tide.function.00000000", "proof": None})
    assert run_here(document, tmp_path, "--writer", "template") == 0
    docs = read_docs(tmp_path)
    assert docs.keys() == {PHASE, ADD, "tide.project"}
    assert docs[ADD].content["signature"] == (
        "def add(self, hour: int, height: float, *, replace: bool=False) -> Table")
    assert [(one["name"], one["default"], one["text"]) for one in docs[ADD].content["parameters"]
            ] == [("hour", None, "of the day, from 0"),
                  ("height", None, "in metres above chart datum"),
                  ("replace", "False", "whether an earlier height may go")]
    assert [one["exception"] for one in docs[ADD].content["raises"]] == ["ValueError", "KeyError"]
    assert {name: one.checks["findings"] for name, one in docs.items()} == {
        name: [] for name in docs}
    whole = read_whole(tmp_path)
    assert [one["subject"] for one in whole.sections] == ["", f"{TIDE}Table.add", f"{TIDE}phase"]
    names = {one["functions"][0]: one["names"] for one in whole.index.values()}
    assert names[f"{TIDE}phase"] == ["GapError", "Table", "TideError", "dump", "load", "phase",
                                     "span"]
    assert whole.checks == {"functions": 1.0, "names": 1.0, "overlap": 0.0, "findings": []}
    assert whole.licence == "MIT" and "numpy>=1" in whole.sections[0]["text"]
    printed = (tmp_path / "nl2repo/tide.md").read_text()
    assert printed.startswith("# tide\n") and "tides.py" not in printed
    capsys.readouterr()
    assert run_here(document, tmp_path, "--writer", "template") == 0
    assert capsys.readouterr().err.count("nothing to do") == 3
    write_json(tmp_path / "coverage/tide.json", {
        **read_json(tmp_path / "coverage/tide.json"), "seconds": 9.0})   # one more run, say
    edited = read_json(tmp_path / f"nl2repo/_docs/{PHASE}.json")
    edited["content"]["purpose"] = "Name the movement of the sea."
    write_json(tmp_path / f"nl2repo/_docs/{PHASE}.json", edited)
    changed = a_patch("Table.add", ["test_a_gap_names_the_missing_hours"], "1")
    write_json(tmp_path / f"nl2repo/_patches/{changed['id']}.json", changed)
    assert run_here(document, tmp_path, "--writer", "template") == 0
    done = [(line["stage"], line["item"]) for line in ledger_lines(
        tmp_path / "nl2repo/_docs", state="done")]
    assert done.count(("nl2repo.doc_part2", ADD)) == 2 and len(done) == 4
    assert "Name the movement of the sea." in (tmp_path / "nl2repo/tide.md").read_text()


@pytest.mark.docker
def test_an_agent_may_mend_its_document_once_and_what_fails_leaves_no_record(
        tide_image, tmp_path):  # noqa: F811
    write_root(tmp_path)
    write_toml(tmp_path)

    def hands_in(*contents, after="") -> list[dict]:
        answers = [one if isinstance(one, str) else json.dumps(one) for one in contents]
        return [{"calls": [["submit", {"answer": one}]], "after": said}
                for one, said in zip(answers, ["", *after], strict=True)]

    phase = hands_in("{", {**GOOD, "raises": 3}, BAD, GOOD, after=[
        "`answer` is no JSON", "`content.raises` is not a list",
        "tolerance: float=0.5) -> str, not `def phase("])
    wrong = {**GOOD, "examples": [{"code": "1 + 1", "output": "3"}]}
    add = hands_in(wrong, wrong, after=["`examples[0]` prints '2', not what it says."])
    look = {"calls": [["bash", {"command": "ls -a; ls /sys/class/net"}]], "after": ""}
    project = {"summary": "Tides by the hour.", "layout": [{"path": "tidebook.py", "text": "all"}],
               "concepts": [], "data_flow": ["`load` hands lines to `Table.add`."],
               "dependencies": [], "conventions": [], "tests": ["pytest"], "examples": []}
    gone = {**project, "conventions": ["See `tides/rules.py`."]}
    scenes = {"scenes": [
        {"when": "::phase", "native": [look, *phase]}, {"when": "Table.add", "native": add},
        {"when": "the whole project", "native": hands_in(gone, project, after=[
            "The path `tides/rules.py` does not exist."])}]}
    scenes["scenes"][0]["native"][1]["after"] = "tidebook.py"
    with Scenario(scenes) as model:
        flags = ("--writer", "llm", "--llm-base-url", model.base_url)
        assert run_here(document, tmp_path, *flags) == 1
    docs = read_docs(tmp_path)
    assert docs.keys() == {PHASE, "tide.project"} and docs[PHASE].content == GOOD
    assert "- `Table.add(self, hour: int," in docs["tide.project"].text
    assert docs[PHASE].writer == "llm" and docs[PHASE].usage["calls"] == 5
    seen = json.dumps(read_json(tmp_path / docs[PHASE].trajectory)["messages"])
    assert ".git\\" not in seen and "eth0" not in seen
    failed, = ledger_lines(tmp_path / "nl2repo/_docs", state="failed", item=ADD)
    assert "`signature` has def phase(" in failed["error"]
    assert not (tmp_path / "nl2repo/tide.json").exists()


def test_steps_wait_for_what_is_missing_and_no_agent_works_where_nothing_is_isolated(
        tmp_path, capsys):
    write_root(tmp_path)
    (tmp_path / "nl2repo/_meta/tide.json").unlink()
    (tmp_path / "analysis/tide.json").unlink()
    assert run_here(document, tmp_path, "--writer", "template") == 1
    said = capsys.readouterr().err
    assert "no meta yet" in said and "waiting 1" in said
    assert "Run: python nl2repo.py --steps extract,coverage,relationship" in said.replace("\n", " ")
    flags = ("--writer", "llm", "--sandbox", "local", "--llm-base-url", "http://127.0.0.1:9")
    assert run_here(document, tmp_path, *flags) == 2
    assert "isolates nothing" in capsys.readouterr().err
