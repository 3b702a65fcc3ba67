"""Read the packages, services, versions of Python and Node, and environment variables that a
repository's CI workflows and Dockerfiles set up."""
from __future__ import annotations

import re
from itertools import chain, islice

import yaml

from codedata.env.recipes.metadata import table_of
from codedata.env.recipes.package_index import Strings, helps_tests, table
from codedata.env.recipes.repository_files import RepositoryFiles

CI = table("tools")["ci"]
RUNS_TESTS = re.compile(r"(?<![a-zA-Z])(?:(?:py|unit|c)?tests?|tox|nox)(?![a-z])")   # in a command
MAX_NODES = 100_000   # per workflow: YAML aliases let a small text repeat one list many times
PLAIN = re.compile(r"[\w.:,+-][\w ./:,;+=-]*")   # no expression, no absolute path
# matches variables to leave out: secrets, and settings for how programs run, install or print
NOT_CARRIED = re.compile(r"(?i).*(?:TOKEN|SECRET|PASS|KEY|CREDENTIAL|AUTH|COLOR|PATH|HOME|OPT)"
                         r"|COVERAGE|LD_|PIP_|NPM_|NODE_ENV|(?:CI|SHELL|BASH_?ENV|IFS|USER)$")
ENV_LINE = re.compile(r"(?im)^ *ENV ((?:.*\\\n)*.*)")   # an instruction of a Dockerfile
ENV_PAIR = re.compile(r"""\b(\w+)=["']?((?<=")[^"]*|(?<=')[^']*|[^\s"']+)""")
ENV_OLD_FORM = re.compile(r"""(?s)\A\s*(\w+)\s+["']?(.*?)["']?\s*\Z""")   # NAME value
APT = re.compile(r"apt(?:-get)?\s+(?:-\S+\s+)*install\s+(.*)")


def read_workflows(source: RepositoryFiles) -> tuple[Strings, Strings, Strings, tuple]:
    """Return (Debian packages; services, named as in packages.toml; versions of Python such as
    3.11, and majors of Node; (name, value) of variables) from all readable CI files and
    Dockerfiles. Use only unconditional jobs that run tests; if there are none, all jobs that run
    tests; else all jobs."""
    jobs = [job for place in CI["files"] for name in source.matching(place)
            for job in source.parsed(name, _jobs, [])]
    tested = [nodes for nodes in jobs
              if any(key in CI["commands"] and RUNS_TESTS.search(str(value))
                     for key, value in nodes)]
    always = [nodes for nodes in tested if nodes[0][0] != "if"]
    texts = [source.text(name) for place in CI["dockerfiles"] for name in source.matching(place)]
    images = [[("run", text), (None, dict(chain.from_iterable(
        ENV_OLD_FORM.findall(line) or ENV_PAIR.findall(line) for line in ENV_LINE.findall(text))))]
              for text in texts]
    parts = map(_of_job, [*(always or tested or jobs), *images, []])
    return tuple(tuple(dict.fromkeys(chain(*found))) for found in zip(*parts, strict=True))


def _jobs(text: str) -> list[list[tuple]]:
    """Return a list of (key, value) for each job of a workflow file: ("if", "") first if the job
    has a condition, (None, {name: value}) of its variables last. Raise ValueError above MAX_NODES
    nodes."""
    tree = yaml.load(text, yaml.BaseLoader)   # values as written: yes, not True
    jobs = [job for job in table_of(tree, "jobs").values() if isinstance(job, dict)]
    found, n_left = [], MAX_NODES
    for job in jobs or [tree]:
        condition = [("if", "")] if "if" in table_of(job) else []
        nodes = [*condition, *islice(_nodes(job, table_of(tree, "commands")), n_left + 1)]
        n_left -= len(nodes)
        if n_left < 0:
            raise ValueError(f"more than {MAX_NODES:,} nodes")
        found.append([*nodes, (None, table_of(tree, "env") | table_of(job, "env"))])
    return found


def _of_job(nodes: list[tuple]) -> tuple:
    """Return (packages, services, versions, variables) of a job."""
    known, system, services = table("packages")["services"], [], []
    versions: list[str] = []
    variables: list[tuple] = []
    for key, value in nodes:
        if key in CI["versions"]:
            versions += re.findall(CI["versions"][key], str(value))
        if key in CI["commands"]:
            system += _installed(value)
        elif key is None:
            variables += [pair for pair in value.items() if isinstance(pair[1], str)
                          and PLAIN.fullmatch(pair[1]) and not NOT_CARRIED.match(pair[0])]
        elif key in ("services", "image", *known):
            images = str(value).lower()
            services += [name for name, service in known.items() for image in service["images"]
                         if re.search(rf"\b{image}\b", images)]
    return system, services, versions, variables


def _nodes(tree, commands: dict, depth: int = 0):
    """Yield (key, value) of mapping entries and (index, value) of list items, at most 30 levels
    deep. After the name of one of CircleCI's `commands`, also yield the entries of the command."""
    entries = enumerate(tree) if isinstance(tree, list) else ()
    if isinstance(tree, dict):
        entries = tree.items()
    for key, value in entries if depth <= 30 else ():
        yield str(key), value
        named = commands.get(value if isinstance(value, str) else key)
        for inner in (value, named):
            yield from _nodes(inner, commands, depth + 1)


def _installed(script) -> list[str]:
    """Return the packages in a script's apt-get lines, except packages that no test needs."""
    text = "\n".join(map(str, script)) if isinstance(script, list) else str(script)
    words = [word for line in re.sub(r"\\\n", " ", text).splitlines() if (found := APT.search(line))
             for word in re.split(r"&&|;|\|", found[1])[0].split()]
    return [word for word in words if re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", word)
            and helps_tests("debian", word)]
