"""Measure the call graph and the hotspots of codedata/code against who really called whom.

The truth was traced while the suites of pinned releases ran (callgraph/projects.toml; the traces
lie beside it). What is slow is kept in --cache: the releases, the peers' edges, environments.

  python benchmarks/callgraph.py --cache DIR --project click      # a JSON line: all figures
  python benchmarks/callgraph.py --cache DIR                      # all projects, then the medians
  python benchmarks/callgraph.py --cache DIR --edges --project click --without names --show 30
  python benchmarks/callgraph.py --cache DIR --edges --rules      # what each rule is worth
  python benchmarks/callgraph.py --cache DIR --retrace --python PATH   # trace again (≥ 3.13)

One JSON line a project on stdout, words on stderr. benchmarks/README.md says what is counted.
"""
import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from zlib import crc32

import numpy

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().with_suffix("")))
from measure import run
from releases import HERE, Project, environment, fetch, pip, projects, store, stored, suite, trace

from codedata.code.calls import RULES, Edge, call_graph, static_scores
from codedata.code.entities import Rules, all_entities, read_sources, tree_of
from codedata.suites import contexts

PEERS = {"jedi": "jedi==0.20.1", "pyan3": "pyan3==2.9.0"}
PEER_S = 1800
BARS = {   # figure: the least median, and the least of a project; below zero: the most
    "recall": (.80, .70), "precision": (.78, .55), "test_recall": (.85, 0),
    "runtime_spearman": (.98, -1), "runtime_top50": (48, 0), "static_spearman": (.55, -1),
    "static_top50": (18, 0), "sets_precision": (.99, 0), "sets_recall": (.99, 0),
    "analysis_ms_kloc": (-50, -1e9), "parse_ms_kloc": (-5, -1e9), "contexts_cpu_ratio": (-3, -1e9)}


def main() -> None:
    args = parser().parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    rows = []
    for project in projects():
        if args.project in ("", project.name):
            rows.append(retraced(project, args) if args.retrace else measured(project, args))
            print(json.dumps(rows[-1]), flush=True)
    if not (args.project or args.retrace):
        print(json.dumps({**medians("tuned", rows, False), **medians("held_out", rows, True)}))


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cache", type=Path, required=True, metavar="DIR", help="what is kept")
    p.add_argument("--project", default="", choices=[one.name for one in projects()],
                   metavar="NAME", help="this one alone")
    p.add_argument("--edges", action="store_true", help="no peers, no suite is run: seconds")
    p.add_argument("--without", action="append", default=[], choices=RULES, metavar="RULE",
                   help="leave a rule out, and print the differences (again for more)")
    p.add_argument("--rules", action="store_true", help="--without each rule in turn")
    p.add_argument("--show", type=int, default=0, metavar="N", help="name N faults of each kind")
    p.add_argument("--retrace", action="store_true", help="trace the suite again, with --python")
    p.add_argument("--python", default=sys.executable, metavar="PATH", help="for what runs suites")
    return p


class Analysed:
    """Hold a project's sources and entities, the CPU seconds that they took, and what really ran,
    by ids: lambdas and comprehensions count for the function around them."""

    def __init__(self, project: Project, folder: Path) -> None:
        self.project = project
        started = time.process_time()
        sources = read_sources(folder, Rules(roots=(project.source, project.tests)))
        self.entities, _ = all_entities(sources)
        self.read_s = time.process_time() - started
        self.files = [file for file in sources.files if file.language == "python"]
        self.spans = {file.path: spans_of(file.text, self.entities[file.path])
                      for file in self.files}
        self.functions = {one.id for several in self.entities.values() for one in several
                          if one.kind != "class" and self.is_source(one.id)}

    def is_source(self, entity_id: str) -> bool:
        """Return whether it is of the project's package, no test."""
        return entity_id.startswith(f"{self.project.source}/")

    def enclosing(self, path: str, line: int, is_function: bool = False) -> str:
        """Return the id of the innermost function whose body has a line of a file, or, for a
        function's own first line, the id of that function."""
        around = [one for first, body, last, one in self.spans[path]
                  if (first if is_function else body) <= line <= last]
        return around[-1] if around else f"{path}::<module>"

    def take(self, traced: dict) -> None:
        """Take a trace: the edges, what ran at all, and what each test that passed ran."""
        codes = traced["codes"]
        ids = [self.enclosing(path, line, is_function) for path, _, line, is_function in codes]
        self.unmapped = [one for (_, name, _, is_function), one in zip(codes, ids, strict=True)
                         if is_function and name.replace("<locals>.", "") != name_in(one)]
        self.ran = set(ids)
        edges = [(kind, (ids[caller], ids[callee])) for kind, caller, callee in traced["edges"]
                 if codes[callee][3] and ids[callee] in self.functions]
        self.right = {edge for _, edge in edges}
        self.direct = {edge for kind, edge in edges if kind == "direct"}
        self.passed = {test: self.functions.intersection(ids[code] for code in traced["sets"][n])
                       for test, (status, n) in traced["tests"].items() if status == "passed"}

    def edges(self, without: Iterable[str] = ()) -> tuple[set[tuple[str, str]], float]:
        """Return the edges that the analysis finds, and its CPU seconds."""
        started = time.process_time()
        found = call_graph(self.files, self.entities, frozenset(without))
        return {(edge.caller, edge.callee) for edge in found}, time.process_time() - started

    def edge_sets(self, found: set) -> tuple[set, set, set]:
        """Return the true edges within the package, the found ones of callers that ran, and the
        true edges from tests into the package."""
        inside = {edge for edge in self.direct if self.is_source(edge[0])}
        judged = {(caller, callee) for caller, callee in found if callee in self.functions
                  and caller in self.ran and self.is_source(caller)}
        return inside, judged, self.direct - inside

    def figures(self, found: set) -> dict[str, float]:
        """Return how right edges are, and how well a static ranking by them agrees."""
        inside, judged, tested = self.edge_sets(found)
        tests = [test.partition("[")[0].replace("::", ".").replace(".py.", ".py::")
                 for test in self.passed]
        scores = static_scores([Edge(*edge, "call", "resolved") for edge in found], tests)
        return {"recall": share(inside & found, inside),
                "precision": share(judged & self.right, judged),
                "test_recall": share(tested & found, tested), **self.hotspots("static", scores)}

    def hotspots(self, kind: str, scores: dict[str, float]) -> dict[str, float]:
        """Return the agreement of scores with the number of passing tests that ran a function."""
        ids = sorted(self.functions)
        both = (counts(self.passed), scores)
        ranks = [average_ranks([given.get(one, 0) for one in ids]) for given in both]
        tops = [set(sorted(ids, key=lambda one: -given.get(one, 0))[:50])
                for given in both]
        return {f"{kind}_spearman": round(float(numpy.corrcoef(ranks)[0, 1]), 3),
                f"{kind}_top50": len(tops[0] & tops[1])}


def spans_of(text: bytes, entities: list) -> list[tuple[int, int, int, str]]:
    """Return (first line, first line of the body, last line, id) of each function."""
    return [(text.count(b"\n", 0, one.start) + 1, text.count(b"\n", 0, one.body[0]) + 1,
             one.end_line, one.id) for one in entities if one.kind != "class"]


def name_in(entity_id: str) -> str:
    """Return the qualified name in an id."""
    return entity_id.partition("::")[2].partition("@")[0]


def measured(project: Project, args) -> dict:
    """Return all figures of a project; without a trace, what its analysis costs."""
    analysed = Analysed(project, fetch(project, args.cache))
    found, resolve_s = analysed.edges()
    row = {"project": project.name, "held_out": project.held_out,
           **sizes(analysed.files, analysed.read_s + resolve_s)}
    if not project.trace.exists():
        return row
    analysed.take(stored(project))
    row |= {"unmapped": len(analysed.unmapped), **analysed.figures(found)}
    if args.show:
        show(analysed, found, args.show)
    for rules in [args.without] * bool(args.without) + [[rule] for rule in RULES if args.rules]:
        row["without " + " ".join(rules)] = {
            name: round(value - row[name], 3)
            for name, value in analysed.figures(analysed.edges(rules)[0]).items()}
    if not args.edges:
        row |= at_run_time(analysed, args)
        row |= {tool: peer(tool, analysed, args) for tool in PEERS}
    return row


def sizes(files: list, analysis_s: float) -> dict[str, float]:
    """Return what the analysis took by 1,000 lines, and the peak memory of this process."""
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    started = time.process_time()
    for file in files:
        tree_of(file)
    parse_s = time.process_time() - started
    kloc = sum(file.text.count(b"\n") for file in files) / 1000
    return {"kloc": round(kloc, 1), "parse_ms_kloc": round(1000 * parse_s / kloc, 2),
            "analysis_ms_kloc": round(1000 * analysis_s / kloc, 1), "peak_mb": peak_mb}


def share(part: set, whole: set) -> float:
    """Return the share of a whole, 1 where there is none."""
    return round(len(part) / len(whole), 3) if whole else 1.0


def counts(sets: dict[str, set[str]]) -> Counter:
    """Return how many of the sets each id is in."""
    return Counter(one for several in sets.values() for one in several)


def average_ranks(values: list[float]) -> numpy.ndarray:
    """Return the rank of each value; equal ones share the mean of theirs."""
    _, places, n = numpy.unique(values, return_inverse=True, return_counts=True)
    return (numpy.cumsum(n) - (n - 1) / 2)[places]


def show(analysed: Analysed, found: set, n: int) -> None:
    """Name edges that are missed, and that are wrong."""
    inside, judged, tested = analysed.edge_sets(found)
    for title, edges in (("missed", inside - found), ("wrong", judged - analysed.right),
                         ("missed from tests", tested - found)):
        print(f"{title}: {len(edges)}", *map(" -> ".join, sorted(edges)[:n]), sep="\n  ",
              file=sys.stderr)


def medians(group: str, rows: list[dict], held_out: bool) -> dict:
    """Return the median and the worst of each figure over a group, and whether its bars are met."""
    out = {}
    for name, (least, floor) in BARS.items():
        sign = 1 if least > 0 else -1
        values = [sign * row[name] for row in rows
                  if row["held_out"] == held_out and "recall" in row and name in row]
        if values:
            is_met = median(values) >= least and min(values) >= floor
            out[f"{group}.{name}"] = {"median": round(sign * median(values), 3),
                                      "worst": sign * min(values), "met": is_met}
    return out


def retraced(project: Project, args) -> dict:
    """Trace a project's suite, and keep the trace. Return its sizes."""
    traced = trace(project, *suite(project, args.cache, args.python))
    store(project, traced)
    return {"project": project.name, "bytes": project.trace.stat().st_size,
            "edges": len(traced["edges"]), "tests": len(traced["tests"])}


# per-test coverage -------------------------------------------------------------------------------

def at_run_time(analysed: Analysed, args) -> dict[str, float]:
    """Return the figures of what coverage.py says of each test, and its CPU over the plain suite.
    """
    python, source = suite(analysed.project, args.cache, args.python)
    folder = place_plugin(python, source)
    words = ["-q", *analysed.project.arguments, analysed.project.tests]
    costs = defaultdict(list)
    for plugin in ["no:codedata_contexts", "codedata_contexts"] * 3:
        shutil.rmtree(folder / "data", ignore_errors=True)
        (folder / "data").mkdir()
        costs[plugin].append(run([python, "-m", "pytest", "-p", plugin, *words], source).cpu_s)
    plain_s, measured_s = map(median, costs.values())
    found = reached(analysed, folder / "data", f"{source}/")
    said, true = ({(test, one) for test, ran in sets.items() for one in ran}
                  for sets in (found, analysed.passed))
    return {**analysed.hotspots("runtime", counts(found)),
            "sets_precision": share(said & true, said), "sets_recall": share(said & true, true),
            "contexts_cpu_ratio": round(measured_s / plain_s, 2)}


def place_plugin(python: Path, source: Path) -> Path:
    """Put the plugin into an environment, and coverage.py in a folder where it looks for it. Return
    the folder."""
    folder = source.with_name("contexts")
    tag = subprocess.check_output([python, "-c", "import sysconfig as s;"
                                   "print(end=s.get_config_var('SOABI'))"], text=True)
    if not (folder / "coverage").exists():
        pip(python, "install", "--target", folder / "coverage" / tag, "coverage>=7")
    (folder / "settings.json").write_text(json.dumps({"source": str(source)}))
    plugin = Path(contexts.__file__).with_name("pytest_contexts.py").read_text(encoding="utf-8")
    site, = source.parent.glob("venv/lib/python*/site-packages")
    (site / "codedata_contexts.py").write_text(
        plugin.replace(f'"{contexts.FOLDER}"', repr(str(folder))), encoding="utf-8")
    return folder


def reached(analysed: Analysed, data: Path, prefix: str) -> dict[str, set[str]]:
    """Return the functions of the package that each passing test ran, by its lines."""
    lines: dict[str, contexts.Masks] = defaultdict(dict)
    for file in data.glob("*.coverage"):
        for test, path, mask in contexts.read_lines(file, iter(range(contexts.MAX_STEPS))):
            contexts.add_lines(lines[test], {path.removeprefix(prefix): mask})
    functions = contexts.Functions(analysed.entities)
    names = {test: test.encode("ascii", "backslashreplace").decode() for test in analysed.passed}
    return {test: analysed.functions.intersection(functions.reached(lines[name]))
            for test, name in names.items()}


# the peers ---------------------------------------------------------------------------------------

def peer(tool: str, analysed: Analysed, args) -> dict[str, float]:
    """Return the figures of another tool; what it finds is kept."""
    how = crc32((HERE / "peers.py").read_bytes())   # what another version of it found is no peer's
    kept = args.cache / f"{analysed.project.name}-{analysed.project.version}.{tool}.{how}.json"
    if not kept.exists():
        python = environment(args.cache / "peers", sys.executable, *PEERS.values())
        with tempfile.TemporaryDirectory() as folder:
            for file in analysed.files:
                path = Path(folder, file.path.removeprefix("src/"))   # as it is imported
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.text)
            done = subprocess.run([python, HERE / "peers.py", tool, folder], check=True,
                                  stdout=subprocess.PIPE, timeout=PEER_S)
        kept.write_bytes(done.stdout)
    said = json.loads(kept.read_text())
    return {**analysed.figures(peer_edges(analysed, said["edges"])),
            "ms_kloc": sizes(analysed.files, said["cpu_s"])["analysis_ms_kloc"]}


def peer_edges(analysed: Analysed, calls: list) -> set[tuple[str, str]]:
    """Return (path, line, path, line) of calls as ids; a class stands for its `__init__`."""
    paths = {path.removeprefix("src/"): path for path in analysed.entities}
    at_line = {(one.path, one.line): one.id if one.kind != "class" else f"{one.id}.__init__"
               for several in analysed.entities.values() for one in several}
    return {(analysed.enclosing(paths[caller], line), at_line[paths[callee], other])
            for caller, line, callee, other in calls
            if caller in paths and (paths.get(callee), other) in at_line}


if __name__ == "__main__":
    main()
