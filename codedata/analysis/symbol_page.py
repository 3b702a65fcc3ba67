"""Build the page of an analysis: the functions that most tests reach, the files, and for a chosen
symbol its source, its callers, its callees and its tests.

codedata/page/ assembles the HTML file; symbol_page.js and symbol_page.css beside this file lay it
out. Sources and edges of a file are one block, which is inflated when a symbol of the file is
opened. Files with the highest scores come first, up to SOURCE_BYTES; of others only the path is
shown.

Equal arguments give equal bytes.
"""
from __future__ import annotations

from collections import Counter, defaultdict

from codedata.page.builder import Packed, build, pack, shortened
from codedata.records import Analysis, Coverage, Object
from codedata.texts import text_of

SOURCE_BYTES = 20_000_000   # of all blocks with sources
MAX_EDGES = 500             # callers, and callees, of a symbol in the page
NAME_CHARS = 200
FIELDS = ("repo", "base_commit", "source", "reason", "languages", "faults")   # of the analysis


def page(analysis: Analysis, coverage: Coverage | None, sources: dict[str, bytes]) -> bytes:
    """Return the page as HTML. `sources` are the bytes of files by path."""
    index = {entity["id"]: i for i, entity in enumerate(analysis.entities)}
    scores = {hotspot["id"]: hotspot["score"] for hotspot in analysis.hotspots}
    details = _details(analysis, index)
    blocks = _file_blocks(analysis, sources, scores, details)
    how = coverage.measured if coverage else {}
    data = {
        **{name: getattr(analysis, name) for name in FIELDS},
        "measured": {name: value for name, value in {**analysis.measured, **how}.items()
                     if name != "seconds"},   # they change with each run
        "n_sources": len(blocks),
        "without_edges": [name for name, one in analysis.languages.items() if not one["edges"]]}
    name = shortened(analysis.repo_name, NAME_CHARS)
    return build(f"Analysis of {name}", data, script=text_of(__package__, "symbol_page.js"),
                 style=text_of(__package__, "symbol_page.css"),
                 blocks={"symbols": _symbols(analysis, scores, details), "files": _files(analysis),
                         "tests": _tests(analysis, coverage, index), **blocks})


def _symbols(analysis: Analysis, scores: dict[str, float],
             details: dict[str, Object]) -> dict[str, list]:
    """Return the entities as columns; a file is its index."""
    place = {file["path"]: i for i, file in enumerate(analysis.files)}
    entities = analysis.entities
    columns = {name: [entity[name] for entity in entities]
               for name in ("id", "name", "kind", "line", "is_test")}
    columns["file"] = [place[entity["path"]] for entity in entities]
    columns["score"] = [scores.get(entity["id"]) for entity in entities]
    for side in ("callers", "callees"):
        columns[side] = [len({edge[0] for edge in edges[side]}) for edges in details.values()]
    return columns


def _files(analysis: Analysis) -> list[list]:
    """Return [path, language, lines, covered share or None, symbols] of each file."""
    symbols = Counter(entity["path"] for entity in analysis.entities)
    return [[file["path"], file["language"], file["lines"], file["covered"], symbols[file["path"]]]
            for file in analysis.files]


def _tests(analysis: Analysis, coverage: Coverage | None, index: dict[str, int]) -> dict:
    """Return the tests, and the sets of symbols that they ran; a symbol is its index."""
    out = {"names": [test["name"] for test in analysis.tests],
           "status": [test["status"] if isinstance(test["status"], str)
                      else ", ".join(dict.fromkeys(test["status"])) for test in analysis.tests],
           "flaky": [test["flaky"] for test in analysis.tests],
           "entity": [index.get(test["entity"]) for test in analysis.tests], "set": [], "sets": []}
    if coverage is None or analysis.source != "runtime":
        return out
    ran = {test["name"]: test["functions"] for test in coverage.tests}
    functions = [index.get(one) for one in coverage.functions]
    return {**out, "set": [ran.get(name) for name in out["names"]],
            "sets": [[functions[k] for k in one if functions[k] is not None]
                     for one in coverage.function_sets]}


# the blocks of files -----------------------------------------------------------------------------

def _file_blocks(analysis: Analysis, sources: dict[str, bytes], scores: dict[str, float],
                 details: dict[str, Object]) -> dict[str, Packed]:
    """Return {block id: a file's text, and the details of its symbols} of as many as fit."""
    of_file = defaultdict(dict)
    heat: Counter = Counter()
    for i, entity in enumerate(analysis.entities):
        path, id = entity["path"], entity["id"]
        heat[path] = max(heat[path], scores.get(id, 0))
        if path in sources:
            of_file[path][str(i)] = _symbol(entity, sources[path], details[id])
    places = {file["path"]: i for i, file in enumerate(analysis.files)}
    blocks = {}
    room = SOURCE_BYTES
    for path in sorted(of_file, key=lambda path: (-heat[path], path)):
        packed = pack({"text": sources[path].decode(errors="replace"), "symbols": of_file[path]})
        if len(packed) <= room:
            blocks[f"file-{places[path]}"] = packed
            room -= len(packed)
    return dict(sorted(blocks.items()))


def _symbol(entity: Object, text: bytes, edges: Object) -> Object:
    """Return the details of a symbol. Its lines begin with its decorators."""
    return {"first": text.count(b"\n", 0, entity["start"]) + 1, "last": entity["end_line"],
            "at_import": entity["at_import"],
            **{side: listed[:MAX_EDGES] for side, listed in edges.items()}}


def _details(analysis: Analysis, index: dict[str, int]) -> dict[str, Object]:
    """Return {id: its callers and callees}: [index or id, kind, certainty, tests of both]."""
    out: dict[str, Object] = {id: {"callers": [], "callees": []} for id in index}
    for edge in analysis.edges:
        caller, callee = edge["caller"], edge["callee"]
        for id, side, other in ((callee, "callers", caller), (caller, "callees", callee)):
            if id in out:   # a module's own code is no symbol
                out[id][side].append([index.get(other, other), edge["kind"], edge["certainty"],
                                      edge["n_tests"]])
    for edges in out.values():
        for side in edges.values():   # the calls that most tests made come first
            side.sort(key=lambda edge: (-(edge[3] or 0), edge[2], str(edge[0])))
    return out
