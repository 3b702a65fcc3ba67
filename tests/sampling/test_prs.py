"""Check that one record comes from every form of a pull request, and lacks are named."""

import json
from pathlib import Path

import duckdb
import pytest
from line_tables import rows as table
from line_tables import toml_beside
from rows_server import RowsServer, write_rows
from rows_server import http as http  # a fixture

from codedata.errors import HttpTrouble, Trouble
from codedata.sampling.pull_requests import all_prs, fetch_prs, iso_utc, touched_files
from codedata.sampling.trajectories import Hub

CASES = toml_beside(__file__, "prs.toml")
DATA_SETS = {name: json.loads(case["row"]) for name, case in CASES["data_sets"].items()}
PATCH = DATA_SETS["SWE-bench"]["patch"]


def pr(instance_id: str, **fields) -> dict:
    return {"instance_id": instance_id, **json.loads(CASES["row"]), **fields}


def write(path: Path, rows: list[dict]) -> str:
    return str(write_rows(path, rows))


@pytest.mark.parametrize("route", ["parquet", "json", "jsonl", "url", "hub"])
def test_a_record_is_the_same_from_every_form(route, tmp_path, http):
    ending = route if route in ("json", "jsonl") else "parquet"
    spec = write(tmp_path / f"prs.{ending}", [pr("a__b-1"), pr("a__b-2"), pr("a__b-3")])
    with RowsServer(name="org/prs", folder=tmp_path, parquet=["prs.parquet"]) as server:
        spec = {"url": f"{server.url}/files/prs.parquet", "hub": "hf:org/prs"}.get(route, spec)
        hub = Hub(http, hub_url=server.url)
        records, problems = fetch_prs(spec, ["a__b-3", "a__b-1", "not-there"], hub)
        every = dict(all_prs(spec, hub, None, None))
    assert (list(records), problems) == (["a__b-1", "a__b-3"], {})
    assert list(every) == ["a__b-1", "a__b-2", "a__b-3"] and every.items() >= records.items()
    assert records["a__b-3"] == json.loads(CASES["record"])


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_a_record_of_commit_is_a_row_of_itself(ending, tmp_path, http):
    path = tmp_path / f"prs.{ending}"
    _, first = next(all_prs(write(path, [pr("a__b-1")]), Hub(http), None, None))
    assert next(all_prs(write(path, [first]), Hub(http), None, None)) == ("a__b-1", first)


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_texts_may_be_empty_but_a_record_without_patch_or_repo_is_a_problem(ending, tmp_path, http):
    spec = write(tmp_path / f"prs.{ending}", [
        pr("texts", problem_statement=None, pr_description=None, test_patch=None, created_at=None,
           meta=None), pr("patch", patch=None), pr("repo", repo=None, language=" "),
        pr("never-asked-for", patch=None), pr("date", created_at="yesterday")])
    records, problems = fetch_prs(spec, ["texts", "patch", "repo", "date"], http)
    record = records.pop("texts")
    assert {record[name] for name in ("issue", "description", "test_patch")} == {""}
    assert record["created_at"] is record["licence"] is None and records == {}
    assert problems.pop("date") == "`created_at` is no date: 'yesterday'"
    assert problems == {"patch": "its row has no text in patch",
                        "repo": "its row has no text in repo"}
    row = pr("a")
    del row["patch"]
    with pytest.raises(Trouble, match=r"none\.\w+ has no column patch or fix_patch, only"):
        fetch_prs(write(tmp_path / f"none.{ending}", [row]), ["a"], http)


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "json"])
def test_of_two_rows_of_one_id_the_first_counts_over_all_files(ending, tmp_path, http):
    for k in range(3):
        write(tmp_path / f"{k}.{ending}",
              [pr("other"), pr("twice", base_commit=f"{k}a"), pr("twice", base_commit=f"{k}b"),
               pr("broken", patch=PATCH if k else None)])
    for _ in range(3):
        records, problems = fetch_prs(f"{tmp_path}/*.{ending}", ["twice", "broken"], http)
        assert records["twice"]["base_commit"] == "0a" and list(problems) == ["broken"]


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
@pytest.mark.parametrize("name", DATA_SETS)
def test_columns_of_known_data_sets_are_read_as_they_are(name, ending, tmp_path, http):
    spec = write(tmp_path / f"prs.{ending}", [DATA_SETS[name]])
    records, problems = fetch_prs(spec, ["own__repo-1"], http)
    own = json.loads(CASES["data_sets"][name]["record"])
    assert problems == {} and records == {"own__repo-1": json.loads(CASES["common"]) | own}


def test_without_a_language_that_of_most_files_counts_and_what_cannot_be_undone_is_a_problem(
        tmp_path, http):
    patch = "".join(PATCH.replace("src/x.py", name) for name in ("a.py", "b.go", "c.go", "d.md"))
    rows = [{**DATA_SETS["SWE-bench"], "patch": patch},
            {**DATA_SETS["SWE-smith"], "instance_id": "renamed",
             "patch": "diff --git a/x b/y\nrename from x\nrename to y\n"}]
    records, problems = fetch_prs(write(tmp_path / "prs.jsonl", rows), ["own__repo-1", "renamed"],
                                  http)
    assert records["own__repo-1"]["language"] == "go" and "not reversed" in problems["renamed"]


@pytest.mark.parametrize("value", ["2024-13-01", "nan", "inf", 10**30, [2024],
                                   "2024-05-01T25:00:00"])
def test_what_is_no_date_is_named(value):
    with pytest.raises(ValueError, match="no date"):
        iso_utc(value)


@pytest.mark.parametrize("name", ["instance_id", "number", "meta", "created_at", "patch"])
def test_a_row_that_is_nested_deeply_costs_that_row_at_most(name, tmp_path, http):
    deep = "[" * 900 + "]" * 900
    row = {**DATA_SETS["Multi-SWE-bench"], **pr("a"), "number": 1}
    rows = json.dumps({**row, name: 7}).replace(f'"{name}": 7', f'"{name}": {deep}')
    spec = tmp_path / "prs.jsonl"
    spec.write_text(f"{rows}\n{json.dumps(pr('b'))}\n")
    assert "b" in fetch_prs(str(spec), ["a", "b"], http)[0]


@pytest.mark.parametrize("value, date", table("""
1714564800                      | 2024-05-01T12:00:00Z
"1714564800"                    | 2024-05-01T12:00:00Z
1714564800.5                    | 2024-05-01T12:00:00Z
1714564800000                   | 2024-05-01T12:00:00Z
"1714564800123"                 | 2024-05-01T12:00:00Z
1714564800123456789             | 2024-05-01T12:00:00Z
"2024-05-01T12:00:00Z"          | 2024-05-01T12:00:00Z
"2024-05-01T12:00:00"           | 2024-05-01T12:00:00Z
"2024-05-01 12:00:00 UTC"       | 2024-05-01T12:00:00Z
"2024-05-01 14:00:00.123456+02" | 2024-05-01T12:00:00Z
"2024-05-01T06:30:00-0530"      | 2024-05-01T12:00:00Z
"2024-05-01T17:45+05:45"        | 2024-05-01T12:00:00Z
"2024-05-01"                    | 2024-05-01T00:00:00Z
"2023-12-31T23:30:00-01:00"     | 2024-01-01T00:30:00Z
null                            | None
""                              | None
"""))
def test_dates_become_iso_utc(value, date):
    assert str(iso_utc(json.loads(value))) == date


@pytest.mark.parametrize("sql", [
    "timestamp '2024-05-01 12:00:00'", "timestamptz '2024-05-01 14:00:00+02'", "1714564800::int",
    "timestamp_ns '2024-05-01 12:00:00.000000001'", "1714564800000.0::double"])
def test_dates_of_every_parquet_type_are_read(sql, tmp_path, http):
    path = write(tmp_path / "a.parquet", [pr("a")])
    duckdb.connect().execute(
        f"copy (select * replace ({sql} as created_at) from '{path}') to '{tmp_path}/b.parquet'")
    assert fetch_prs(f"{tmp_path}/b.parquet", ["a"], http)[0]["a"][
        "created_at"] == "2024-05-01T12:00:00Z"


@pytest.mark.parametrize("row", CASES["patch"], ids=lambda row: " ".join(row["files"]))
def test_files_are_those_that_the_headers_name(row):
    assert touched_files(row["text"]) == set(row["files"])


def test_ids_and_paths_are_values_never_sql(tmp_path, http):
    odd = "a'); drop table x; --\"é"
    folder = tmp_path / "it's"
    folder.mkdir()
    spec = write(folder / "prs.jsonl", [pr(odd)])
    duckdb.connect().execute(f"copy (from read_ndjson(?)) to '{tmp_path}/p.parquet'", [spec])
    (tmp_path / "p.parquet").rename(folder / "[p].parquet")
    assert list(fetch_prs(f"{folder}/[[]p].parquet", [odd, "'"], http)[0]) == [odd]
    assert fetch_prs(f"{folder}/[[]p].parquet", [], http) == ({}, {})


def test_a_hub_that_fails_is_http_trouble(http):
    for name, split in ("no/such", "train"), ("no/such:test", "test"):
        with RowsServer() as server, pytest.raises(HttpTrouble, match=f"default/{split} HTTP 404"):
            fetch_prs(f"hf:{name}", ["a"], Hub(http, hub_url=server.url))
