"""Check the steps that document: what they write, what makes it again, and what an agent may hand
in."""
import json
import shutil

import pytest
from conftest import REPO, ledger_lines, run_script
from proven_strip import DOCUMENT, write_candidate, write_patch, write_strip
from root import read_json, write_json
from scenario import Scenario
from stripped_tide import TESTS, TIDE, a_patch, tide_image, write_root  # noqa: F401  fixture

from codedata.disk.store import Store
from codedata.nl2repo.write_documents import document_name
from codedata.records import Document, RepoDocument, Task, parse
from codedata.tasks.folder.task_folder import document_in, edited_parts

HERON = "heron.function.0123abcd"
PHASE, ADD = (document_name("tide", TIDE + name) for name in ("phase", "Table.add"))
GOOD, BAD = (read_json(REPO / f"tests/nl2repo/documents/{n}.json")["content"]
                       for n in (27, 31))
LOOK = {"calls": [["bash", {"command": "ls -a; ls /sys/class/net"}]], "after": ""}
PROJECT = {"summary": "Tides by the hour.", "layout": [{"path": "tidebook.py", "text": "all"}],
           "concepts": [], "data_flow": ["`load` hands lines to `Table.add`."],
           "dependencies": [], "conventions": [], "tests": ["pytest"], "examples": []}


def document(root, *flags):
    return run_script("nl2repo.py", root, "--steps", "doc_part2,doc_part1,doc", "--writer", *flags)


def hands_in(*contents, after=()) -> list[dict]:
    answers = [one if isinstance(one, str) else json.dumps(one) for one in contents]
    return [{"calls": [["submit", {"answer": one}]], "after": said}
            for one, said in zip(answers, ["", *after], strict=True)]


def read_docs(root) -> dict[str, Document]:
    return {path.stem: parse(Document, read_json(path), "")
            for path in sorted((root / "nl2repo/_docs").glob("*.json"))}


@pytest.mark.docker
def test_a_template_documents_all_that_is_stripped_and_only_what_changed_is_made_again(
        tide_image, tmp_path):  # noqa: F811
    write_root(tmp_path)
    write_candidate(tmp_path, a_patch("load"))   # it was refused
    first = document(tmp_path, "template")
    assert first.returncode == 0, first.stderr
    docs = read_docs(tmp_path)
    assert {name: one.checks["findings"] for name, one in docs.items()} == {
        PHASE: [], ADD: [], "tide.project": []}
    whole = parse(RepoDocument, read_json(tmp_path / "nl2repo/tide.json"), "")
    assert [one["subject"] for one in whole.sections] == ["", "api", f"{TIDE}Table.add",
                                                         f"{TIDE}phase"]
    api = whole.index[a_patch("phase").name]["api"]
    assert "- `@property def Table.span(self) -> float`" in api and "- `@dataclass class" in api
    assert "Table.peaks" not in api and "Table.peaks" in whole.sections[1]["text"]
    names = {one["functions"][0]: one["names"] for one in whole.index.values()}
    assert names[f"{TIDE}phase"] == ["GapError", "Table", "TideError", "dump", "load", "phase",
                                     "span"]
    assert whole.checks == {"functions": 1.0, "names": 1.0, "overlap": 0.0, "findings": []}
    assert whole.licence == "MIT" and "numpy>=1" in whole.sections[0]["text"]
    printed = (tmp_path / "nl2repo/tide.md").read_text()
    assert printed.startswith("# tide\n") and "tides.py" not in printed
    assert document(tmp_path, "template").stderr.count("nothing to do") == 4
    write_json(tmp_path / "coverage/tide.json", {
        **read_json(tmp_path / "coverage/tide.json"), "seconds": 9.0})   # one more run, say
    edited = read_json(tmp_path / f"nl2repo/_docs/{PHASE}.json")
    edited["content"]["purpose"] = "Name the movement of the sea."
    write_json(tmp_path / f"nl2repo/_docs/{PHASE}.json", edited)
    write_patch(tmp_path, a_patch("Table.add", "1"), [f"{TESTS}test_a_gap_names_the_missing_hours"])
    assert document(tmp_path, "template").returncode == 0
    done = [(line["stage"], line["item"]) for line in ledger_lines(
        tmp_path / "nl2repo/_docs", state="done")]
    assert done.count(("nl2repo.doc_part2", ADD)) == 2 and len(done) == 4
    assert "Name the movement of the sea." in (tmp_path / "nl2repo/tide.md").read_text()


@pytest.mark.docker
def test_an_agent_may_mend_its_document_once_and_what_fails_leaves_no_record(
        tide_image, tmp_path):  # noqa: F811
    write_root(tmp_path)
    tmp_path.with_settings()

    phase = hands_in("{", {**GOOD, "raises": 3}, BAD, GOOD, after=[
        "`answer` is no JSON", "`content.raises` is not a list",
        "tolerance: float=0.5) -> str, not `def phase("])
    wrong = {**GOOD, "examples": [{"code": "1 + 1", "output": "3"}]}
    add = hands_in(wrong, wrong, after=["`examples[0]` prints '2', not what it says."])
    gone = {**PROJECT, "conventions": ["See `tides/rules.py`."]}
    scenes = {"scenes": [
        {"when": "::phase", "native": [LOOK, *phase]}, {"when": "Table.add", "native": add},
        {"when": "the whole project", "native": hands_in(gone, PROJECT, after=[
            "The path `tides/rules.py` does not exist."])}]}
    scenes["scenes"][0]["native"][1]["after"] = "tidebook.py"
    with Scenario(scenes) as model:
        assert document(tmp_path, "llm", "--llm-base-url", model.base_url).returncode == 1
    docs = read_docs(tmp_path)
    assert docs.keys() == {PHASE, "tide.project"} and docs[PHASE].content == GOOD
    assert "Table.add" in [row["name"] for row in docs["tide.project"].content["api"][0]["names"]]
    assert docs[PHASE].writer == "llm" and docs[PHASE].usage["calls"] == 5
    seen = json.dumps(read_json(tmp_path / docs[PHASE].trajectory)["messages"])
    assert ".git\\" not in seen and "eth0" not in seen
    failed, = ledger_lines(tmp_path / "nl2repo/_docs", state="failed", item=ADD)
    assert "`signature` has def phase(" in failed["error"]
    assert not (tmp_path / "nl2repo/tide.json").exists()


def test_steps_wait_for_what_is_missing_and_no_agent_works_where_nothing_is_isolated(tmp_path):
    write_root(tmp_path)
    (tmp_path / "analysis/tide.json").unlink()
    meta = (tmp_path / "nl2repo/_meta/tide.json").rename(tmp_path / "away.json")
    done = document(tmp_path, "template", "--sandbox", "local")
    assert "no nl2repo/_meta/ yet: " in done.stderr
    meta.rename(tmp_path / "nl2repo/_meta/tide.json")
    done = document(tmp_path, "template", "--sandbox", "local")
    assert done.returncode == 1 and "no documents yet" in done.stderr
    assert "--steps extract,coverage,relationship" in done.stderr
    local = document(tmp_path, "llm", "--sandbox", "local", "--llm-base-url", "http://127.0.0.1:9")
    assert local.returncode == 2 and "isolates nothing" in local.stderr


def test_an_instruction_follows_its_document_until_a_person_edits_it(tmp_path):
    told, whole = tmp_path / f"task/{HERON}/instruction.md", tmp_path / "nl2repo/heron.json"
    text = write_strip(tmp_path).instruction
    told.unlink()

    def instruct(**sections) -> str:
        record = read_json(whole)
        record["sections"] = [{**one, "text": sections.get(one["title"], one["text"])}
                              for one in record["sections"]]
        write_json(whole, record)
        return run_script("nl2repo.py", tmp_path, "--steps", "instruct", "--sandbox",
                          "local").stderr

    assert "wrote 1" in instruct() and told.read_text() == text
    assert "- `heron.py`: `words`\n" in text and "test_" not in text
    assert document_in(text) == DOCUMENT and document_in(DOCUMENT) == DOCUMENT
    assert "nothing to do" in instruct(fly="Of another function.")
    assert "stale 1" in instruct(words="Of its own.") and "Of its own." in told.read_text()
    told.write_text("Mine.")
    assert "edited 1 (kept, 1 also stale)" in instruct(words="Once more.")
    told.unlink()
    assert "waiting 1" in (done := instruct(words=""))
    assert "no document of all its functions yet: " in done


def test_a_sample_is_as_the_steps_write_it(tmp_path):
    folder = REPO / "samples/nl2repo"
    whole = parse(RepoDocument, read_json(folder / "humanize.json"), "")
    assert "\n".join(one["text"] for one in whole.sections) == (folder / "humanize.md").read_text()
    shutil.copytree(folder / "task", tmp_path / "task")
    store = Store(tmp_path, Task).open()
    name, = store.names()
    task = store.read(name)
    assert edited_parts(task) == [] and task.about["functions"] == whole.index[name]["functions"]
