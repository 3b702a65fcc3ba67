"""Where Python projects keep what their tests require: groups, extras, and the tables of their tools."""
from __future__ import annotations

import ast
import configparser
import re
from pathlib import Path

from codedata.env.declared import (
    lines_of,
    parsed_ini,
    read_toml,
    strings_in,
    tree_of,
    value_of,
)
from codedata.env.requirements import expanded, from_poetry, merged, name_of, read_file
from codedata.env.tables import is_developers_group, is_other_group, is_test_group, normalized

Ini = configparser.ConfigParser
TEST_FOLDERS = ("tests", "test", "Tests", "testing", "testsuite", "unittests", "t")


def requirements_by_use(folder: Path, pyproject: dict, setup_cfg: Ini, setup_py: dict, tox_ini: Ini, info: dict,
                        name: str) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """({"tests", "developers", "features"}: requirements by what they are for, each place after the other; all extras
    by their names)."""
    project, tool = pyproject.get("project", {}), pyproject.get("tool", {})
    extras = _extras(project, tool, setup_cfg, setup_py, info)
    groups = _groups(pyproject)
    wanted, wanted_groups, plain = _of_tools(folder, tool, tox_ini)
    found: dict[str, list[str]] = {"tests": [], "developers": [], "features": []}
    for label, held in (*groups.items(), *extras.items()):
        if is_test_group(label) or label in wanted or label in wanted_groups:
            found["tests"] += held
        elif is_developers_group(label):
            found["developers"] += held
        elif label in extras and not is_other_group(label):
            found["features"] += held
    found["tests"] += plain
    found["tests"] += strings_in(setup_py.get("tests_require"))
    found["tests"] += lines_of(value_of(setup_cfg, "options", "tests_require"))
    for path in _requirement_files(folder):
        held, their_extras = read_file(path)
        for_tests = path.parent.name in TEST_FOLDERS or is_test_group(path.stem) or is_test_group(path.parent.name)
        use = "tests" if for_tests else "developers"
        found[use] += held + [r for extra in their_extras for r in extras.get(extra, [])]
    pipfile = read_toml(folder / "Pipfile")
    found["developers"] += from_poetry(pipfile.get("dev-packages", {}))
    return tuple({key: expanded(held, extras, name) for key, held in some.items()} for some in (found, extras))


def _extras(project, tool, setup_cfg, setup_py, info) -> dict[str, list[str]]:
    extras = {str(k): strings_in(v) for k, v in project.get("optional-dependencies", {}).items()}
    poetry = tool.get("poetry", {})
    named = {normalized(name_of(r)): r for r in from_poetry(
        {k: {**v, "optional": False} if isinstance(v, dict) else v for k, v in poetry.get("dependencies", {}).items()})}
    for extra, names in poetry.get("extras", {}).items():
        extras.setdefault(extra, [named.get(normalized(n), n) for n in strings_in(names)])
    for extra, held in tool.get("flit", {}).get("metadata", {}).get("requires-extra", {}).items():
        extras.setdefault(extra, strings_in(held))
    if setup_cfg.has_section("options.extras_require"):
        for extra, text in setup_cfg.items("options.extras_require"):
            extras.setdefault(extra, lines_of(text))
    if isinstance(setup_py.get("extras_require"), dict):
        for extra, held in setup_py["extras_require"].items():
            extras.setdefault(str(extra), strings_in(held if isinstance(held, (list, tuple)) else [held]))
    for extra, held in info.get("extras", {}).items():
        extras.setdefault(extra, held)
    return extras


def _groups(pyproject) -> dict[str, list[str]]:
    """Dependency groups of PEP 735 with what they include, and those of poetry, pdm and uv."""
    tool, raw = pyproject.get("tool", {}), pyproject.get("dependency-groups", {})

    def held(name: str, depth: int = 0) -> list[str]:
        entries = next((value for key, value in raw.items() if normalized(key) == normalized(name)), [])
        included = [entry.get("include-group", "") for entry in entries if isinstance(entry, dict) and depth < 9]
        return [*strings_in(entries), *(r for group in included for r in held(group, depth + 1))]
    groups = {name: held(name) for name in raw}
    poetry = tool.get("poetry", {})
    for name, group in poetry.get("group", {}).items():
        groups.setdefault(name, from_poetry(group.get("dependencies", {})))
    if poetry.get("dev-dependencies"):
        groups.setdefault("dev", from_poetry(poetry["dev-dependencies"]))
    for name, requirements in tool.get("pdm", {}).get("dev-dependencies", {}).items():
        groups.setdefault(name, strings_in(requirements))
    if tool.get("uv", {}).get("dev-dependencies"):
        groups.setdefault("dev", strings_in(tool["uv"]["dev-dependencies"]))
    return groups


def _of_tools(folder, tool, tox_ini) -> tuple[set[str], set[str], list[str]]:
    """(extras, groups, requirements) that hatch, tox and nox install for the tests."""
    extras: set[str] = set()
    groups: set[str] = set()
    plain: list[str] = []
    for name, env in tool.get("hatch", {}).get("envs", {}).items():
        if isinstance(env, dict) and (name == "default" or is_test_group(name)):
            plain += strings_in(env.get("dependencies", [])) + strings_in(env.get("extra-dependencies", []))
            extras |= set(strings_in(env.get("features", [])))
            groups |= set(strings_in(env.get("dependency-groups", [])))
    tox = tool.get("tox", {})
    inis = [tox_ini]
    if isinstance(tox.get("legacy_tox_ini"), str):
        inis.append(parsed_ini(tox["legacy_tox_ini"]))
    for env in (tox.get("env_run_base", {}), read_toml(folder / "tox.toml").get("env_run_base", {})):
        plain += strings_in(env.get("deps", []))
        extras |= set(strings_in(env.get("extras", [])))
        groups |= set(strings_in(env.get("dependency_groups", [])))
    for ini in inis:
        for section in ini.sections():
            if section == "testenv" or re.match(r"testenv:(?:py|test|unit)", section):
                extras |= set(_tox_lines(value_of(ini, section, "extras")))
                groups |= set(_tox_lines(value_of(ini, section, "dependency_groups")))
                plain += _tox_requirements(folder, _tox_lines(value_of(ini, section, "deps")), extras)
    for words in _nox_installs(folder / "noxfile.py"):
        plain += _from_words(folder, words, extras, groups)
    return extras, groups, plain


def _tox_lines(text: str) -> list[str]:
    """Lines and commas, without a factor before them (`py311: x`); of other factors, such as docs, nothing."""
    out = []
    for line in re.split(r"[\n,](?![^\[]*\])", text or ""):
        factor = re.match(r"\s*([\w!{},.-]+):\s+(.*)", line)
        if factor and not re.search(r"!|\bpy(?:3|311)?\b|test", factor[1]):
            continue
        line = (factor[2] if factor else line).strip()
        if line and not line.startswith("#") and "{[" not in line:
            out.append(line.replace("{toxinidir}/", "").replace("{tox_root}/", ""))
    return out


def _tox_requirements(folder: Path, lines: list[str], extras: set[str]) -> list[str]:
    out = []
    for line in lines:
        if other := re.match(r"-r\s*(\S+)", line):
            held, their_extras = read_file(folder / other[1])
            out, _ = out + held, extras.update(their_extras)
        elif own := re.match(r"(?:-e\s*)?\.\[([^\]]+)\]", line):
            extras.update(part.strip() for part in own[1].split(","))
        elif not line.startswith(("-", ".", "/")) and "{" not in line and "://" not in line:
            out.append(line)
    return out


def _nox_installs(path: Path) -> list[list[str]]:
    """The constant arguments of session.install(…) in the sessions that run tests."""
    found = []
    for function in (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef)):
        if is_other_group(function.name):
            continue
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            if isinstance(call.func, ast.Attribute) and call.func.attr == "install":
                words = [part for arg in call.args for part in ([arg] if isinstance(arg, ast.Constant) else [])]
                found.append([str(word.value) for word in words])
    return found


def _from_words(folder: Path, words: list[str], extras: set[str], groups: set[str]) -> list[str]:
    """Requirements among the words of a pip command; its extras and groups go into the sets."""
    out, rest = [], iter(words)
    for word in rest:
        if word in ("-r", "--requirement"):
            held, their_extras = read_file(folder / next(rest, ""))
            out, _ = out + held, extras.update(their_extras)
        elif word == "--group":
            groups.add(next(rest, ""))
        elif own := re.match(r"\.\[([^\]]+)\]", word):
            extras.update(part.strip() for part in own[1].split(","))
        elif not word.startswith(("-", ".", "/")) and name_of(word):
            out.append(word)
    return out


def _requirement_files(folder: Path) -> list[Path]:
    """Requirements files for tests or developers, wherever projects use to keep them; those for tests first."""
    folders = [folder, *(folder / name for name in ("requirements", "reqs", "ci", *TEST_FOLDERS))]
    found = []
    for path in (p for place in folders if place.is_dir() for p in sorted(place.iterdir())):
        label = path.stem if path.parent in (folder, folder / "ci") else f"{path.parent.name}-{path.stem}"
        is_list = path.suffix in (".txt", ".in", ".pip") and re.search("req|depend", f"{path.parent.name}-{path.stem}")
        if is_list and "constraint" not in path.stem and (is_test_group(label) or is_developers_group(label)):
            found.append(path)
    return sorted(found, key=lambda path: not is_test_group(f"{path.parent.name}-{path.stem}"))


def bare_requirements(folder: Path) -> tuple[str, ...]:
    found = read_file(folder / "requirements.txt")[0] or read_file(folder / "requirements.in")[0]
    return merged(found, from_poetry(read_toml(folder / "Pipfile").get("packages", {})))
