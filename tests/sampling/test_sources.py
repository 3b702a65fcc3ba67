"""Check the sources of rows: files, the dataset server and Parquet give the same windows."""

import gzip
import json
import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import duckdb
import pytest
from rows_server import RowsServer, write_rows
from rows_server import http as http  # a fixture

from codedata.disk.row_files import JsonLines, ParquetRows, find_files
from codedata.errors import Trouble
from codedata.sampling.trajectories import Hub, open_source

# two files of several row groups: duckdb's smallest has 2048 rows
N_ROWS, N_FIRST = 5000, 3000
WINDOWS = [(0, 1), (95, 110), (2040, 20), (2990, 30), (0, 250), (4990, 50), (4999, 1), (6000, 5),
           (7, 0)]
NO_ROWS_URL = "http://127.0.0.1:9"    # the discard port: no server listens


def make_rows(n=N_ROWS) -> list[dict]:
    rng = random.Random(0)
    return [{"instance_id": f"own__repo-{i}", "repo": "own/repo",
             "messages": [{"role": "system", "content": "é \U0001f600 \u2028 \x00 \\ \" \r\n"},
                          {"role": "assistant", "content": rng.randbytes(400).hex()}],
             "exit_status": None, "duration_sec": i / 8} for i in range(n)]


@pytest.fixture(scope="module")
def stored():
    return make_rows()


@pytest.fixture(scope="module")
def rows(stored):
    """Return the rows as they are read: further columns are passed over."""
    return [{"instance_id": row["instance_id"], "repo": row["repo"], "messages": row["messages"],
             "tools": None, "agent": "rows", "no_turns": range(0), "unseen": None, "is_cut": None,
             "origin": {}, "outcome": (None, None, "", ""), "row": i}
            for i, row in enumerate(stored)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, stored):
    rows = stored
    folder = tmp_path_factory.mktemp("split")
    write_rows(folder / "0000.parquet", rows[:N_FIRST])
    write_rows(folder / "0001.parquet", rows[N_FIRST:])
    (folder / "all.json").write_text(json.dumps(rows, indent=0))
    write_rows(folder / "a.jsonl", rows[:N_FIRST])
    (folder / "b.jsonl.gz").write_bytes(
        gzip.compress(write_rows(folder / "b.txt", rows[N_FIRST:]).read_bytes(), 1))
    return folder


@pytest.fixture
def server(folder, stored):
    with RowsServer(rows=stored, folder=folder, parquet=["0000.parquet", "0001.parquet"]) as server:
        yield server


def open_hub(server, http, **kwargs):
    return open_source("hf:org/set",
                       Hub(http, **{"rows_url": server.url, "hub_url": server.url, **kwargs}))


@pytest.mark.parametrize("route, spec", [
    ("endpoint", "hf:org/set"), ("fallback", "hf:org/set"), ("parquet", "{folder}/*.parquet"),
    ("json", "{folder}/all.json"), ("jsonl", "{folder}/?.jsonl*"),
    ("far json", "{url}/files/all.json?download=true")])
def test_the_same_offsets_are_the_same_rows_by_every_route(
        route, spec, rows, folder, server, http):
    if route == "fallback":
        server.down["/rows"] = 501
    source = open_source(spec.format(folder=folder, url=server.url),
                         Hub(http, None, server.url, server.url))
    assert source.n_rows == N_ROWS
    for offset, length in WINDOWS:
        assert source.rows(offset, length) == rows[offset:offset + length], (offset, length)
    with ThreadPoolExecutor(8) as pool:
        offsets = random.Random(1).sample(range(N_ROWS), 60)
        assert list(pool.map(lambda at: source.rows(at, 12), offsets)) == [rows[at:at + 12]
                                                                           for at in offsets]


# the rows endpoint

def test_pages_are_at_most_a_hundred_rows_and_short_ones_are_asked_for_the_rest(server, http, rows):
    server.page_limit = 60
    assert open_hub(server, http).rows(10, 150) == rows[10:160]
    assert [(query["offset"], query["length"]) for query in server.queries()] == [
        ("0", "1"), ("10", "100"), ("70", "90"), ("130", "30")]   # the first tells their number


@pytest.mark.parametrize("trouble, says", [
    ({"down": {"/rows": 500}}, "500"), ({"down": {"/rows": 404}}, "404"),
    *((trouble, "cut cells, or not") for trouble in (
        {"cut": {1005}}, {"shuffle": True}, {"page_limit": 0})),
    ({"down": {"/rows": 200}}, "not a page")],
    ids=str)
def test_an_endpoint_that_fails_midway_hands_over_to_parquet_once_and_says_why(
        trouble, says, server, http, rows):
    source = open_hub(server, http)
    assert source.n_rows == N_ROWS and source.rows(0, 3) == rows[:3]
    vars(server).update(trouble)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda at: source.rows(at, 10), range(1000, 1080, 10))) == \
            [rows[at:at + 10] for at in range(1000, 1080, 10)]
    note, = source.notes
    assert "Parquet" in note and says in note
    server.requests.clear()
    assert source.rows(0, 3) == rows[:3] and "/rows" not in server.paths()


def test_other_row_counts_and_partial_conversions_are_told(server, http, rows):
    source = open_hub(server, http, rows_url=NO_ROWS_URL)   # the hub lists the files
    assert source.rows(2999, 2) == rows[2999:3001] and "does not answer" in source.notes[0]
    server.partial = True
    server.fail["/rows"] = [429, 500]   # they pass
    source = open_hub(server, http)
    assert source.n_rows == N_ROWS and "first 5000" in source.notes[0]
    server.down["/rows"], server.parquet = 500, ["0000.parquet"]
    assert source.rows(2998, 5) == rows[2998:3000] and "hold 3000" in source.notes[-1]


def test_a_name_that_the_hub_does_not_know_is_trouble(server, http):
    with pytest.raises(Trouble, match=r"hf:no/such gives neither rows \(HTTP 404.*\n.*HF_TOKEN"):
        open_source("hf:no/such", Hub(http, None, server.url, server.url)).rows(0, 1)


def test_the_token_goes_to_the_hub_and_to_nobody_else(server, http, folder):
    server.down["/rows"] = 500
    open_hub(server, http, token="hf_key").rows(0, 1)
    with RowsServer(folder=folder) as other:
        open_source(f"{other.url}/files/0000.parquet", Hub(http, "hf_key", server.url, server.url))
        assert {request.headers.get("authorization") for request in server.requests} == {
            "Bearer hf_key"}
        assert other.requests
        assert not any("authorization" in request.headers for request in other.requests)


# Parquet from afar

def test_a_window_costs_one_row_group_and_the_next_one_in_it_nothing(http, tmp_path):
    size = write_rows(tmp_path / "rows.parquet", make_rows(3 * 2048)).stat().st_size
    with RowsServer(folder=tmp_path) as server:
        source = open_source(f"{server.url}/files/rows.parquet", http)
        opened = server.bytes_sent
        server.down["/files"] = 403
        with pytest.raises(Trouble, match="refused access"):
            source.rows(2500, 10)
        server.down.clear()
        source.rows(2500, 10)
        fetched = server.bytes_sent
        assert opened < size / 20 and fetched - opened < size * 0.4
        assert len(source.rows(2600, 20)) == 20 and server.bytes_sent == fetched


# files

def test_a_table_without_messages_is_named(tmp_path, http):
    path = write_rows(tmp_path / "a.parquet", [{"instance_id": "a", "conversation": "b"}])
    with pytest.raises(Trouble, match="no column `messages`, only instance_id, conversation"):
        open_source(str(path), http).rows(0, 1)


@pytest.mark.parametrize("spec", ["none.parquet", "*.jsonl", "empty", "notes.txt",
                                  "https://host/data.csv?a=.json"])
def test_what_is_no_source_is_named_with_what_would_be(spec, tmp_path, http):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("[]")
    with pytest.raises(Trouble, match=r"is not there, or of no .*\n  Give hf:NAME"):
        open_source(spec if "://" in spec else f"{tmp_path}/{spec}", http)


def test_files_are_numbered_in_sorted_order_and_brackets_in_names_are_no_glob(tmp_path, http):
    odd = tmp_path / "odd [1]*"
    odd.mkdir()
    for name in "bca":
        write_rows(odd / f"{name}'[0].parquet", [{"instance_id": name, "messages": []}])
    assert find_files(str(odd)) == ("parquet", [f"{odd}/{name}'[0].parquet" for name in "abc"])
    assert [row["instance_id"] for row in open_source(str(odd), http).rows(0, 9)] == ["a", "b", "c"]


LONG = b"[" + b"{}," * 7_000_000 + b"{}]"   # parsed, it takes 500 MB


@pytest.mark.parametrize("bad", [
    b'{"instance_id": ', b"[1]", b'{"a": "\xff"}',
    pytest.param(b'{"instance_id": "a", "messages": %b}' % LONG, id="long")])
@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz"])
def test_a_broken_line_is_named_and_costs_only_itself(bad, ending, tmp_path, http):
    good = b'{"instance_id": "a", "messages": []}'
    path = tmp_path / f"rows{ending}"
    lines = b"\n".join([good, b"", good, bad, b"  ", good])
    path.write_bytes(gzip.compress(lines) if ending.endswith("gz") else lines)
    source = open_source(str(path), http)
    assert ["problem" in row for row in source.rows(0, 9)] == [False, False, True, False]
    note, = source.notes
    assert f"rows{ending} line 4 is broken" in note and " 1 of the files" in note


@pytest.mark.parametrize("name, content, problem",
                         [("a.json", b'[\n{"a": 1},\n{]', "line 3"),
                          ("a.json", b"{}", "keys none"),
                          ("a.json", b"5", "keys none"), ("a.json", b"[]", "keys none"),
                          ("a.json", b'{"a": 1}\n{"a": 2}', "Extra data"),
                          pytest.param("a.json", LONG, "20,000,000 bytes (a list", id="long"),
                          pytest.param("a.jsonl", (b" " * 7_000_000 + b"{}\n") * 3, "one traj",
                                       id="lines"),
                          ("a.jsonl.gz", b"plain", "unpacked"),
                          ("a.traj.gz", gzip.compress(bytes(10**6), mtime=0) * 201, "unpacked"),
                          ("a.jsonl.gz", gzip.compress(b"x" * 9999, mtime=0)[:-9], "unpacked")])
def test_a_file_that_is_not_what_its_name_says_costs_only_itself(name, content, problem, tmp_path,
                                                                 http):
    (tmp_path / name).write_bytes(content)
    (tmp_path / "z.json").write_text('{"instance_id": "z", "messages": []}')
    source = open_source(str(tmp_path), http)
    assert [row.get("problem", "")[:24] for row in source.rows(0, 9)] == [
        "a file, row or line that", ""]
    note, = source.notes
    assert name in note and problem in note


def test_a_row_of_parquet_that_is_too_long_is_trouble(tmp_path, http):
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(Trouble, match=r"b\.parquet cannot be read"):
        open_source(f"{tmp_path}/b.parquet", http)
    duckdb.execute(f"copy (select repeat('x', 20000000) as messages) to '{tmp_path}/a.parquet'")
    with pytest.raises(Trouble, match=r"a\.parquet has a row of more than 20,000,000 bytes"):
        open_source(f"{tmp_path}/a.parquet", http).rows(0, 1)


def test_a_source_of_too_many_rows_is_named(tmp_path, http):
    duckdb.execute(f"copy (select null as messages from range(10000001)) to '{tmp_path}/a.parquet'")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b"\n" * 10_000_002))   # blank ones, too
    for read in (partial(JsonLines, f"{tmp_path}/a.jsonl.gz"),
                 partial(ParquetRows, "", [f"{tmp_path}/a.parquet"])):
        with pytest.raises(Trouble, match="has more than"):
            read(http)
