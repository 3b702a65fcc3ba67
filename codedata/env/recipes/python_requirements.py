"""Collect the requirements of a Python project's tests from groups, extras and tool settings."""
from __future__ import annotations

import ast
import configparser
import contextlib
import re
from pathlib import PurePosixPath

from codedata.env.recipes.metadata import (
    empty_ini,
    lines_of,
    read_toml,
    section_of,
    strings_in,
    table_of,
    value_of,
)
from codedata.env.recipes.package_index import is_developers_group, is_other_group, is_test_group, normalized
from codedata.env.recipes.repository_files import RepositoryFiles
from codedata.env.recipes.requirements import expanded, from_poetry, merged, name_of, read_file

Ini = configparser.ConfigParser
TEST_FOLDERS = ("tests", "test", "Tests", "testing", "testsuite", "unittests", "t")


def requirements_by_use(source: RepositoryFiles, pyproject: dict, setup_cfg: Ini, setup_py: dict, tox_ini: Ini, info: dict,
                        name: str) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return ({"tests", "developers", "features"}: requirements by purpose, in the order of the
    places where they were found; all extras by name)."""
    project, tool = table_of(pyproject, "project"), table_of(pyproject, "tool")
    extras = _extras(project, tool, setup_cfg, setup_py, info)
    groups = _groups(pyproject)
    wanted, wanted_groups, plain = _of_tools(source, tool, tox_ini)
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
    for path in _requirement_files(source):
        held, their_extras = read_file(source, str(path))
        for_tests = path.parent.name in TEST_FOLDERS or is_test_group(path.stem) or is_test_group(path.parent.name)
        use = "tests" if for_tests else "developers"
        found[use] += held + [r for extra in their_extras for r in extras.get(extra, [])]
    found["developers"] += from_poetry(table_of(read_toml(source, "Pipfile"), "dev-packages"))
    source.announce("pyproject.toml")   # endless extras are blamed on pyproject.toml
    return tuple({key: expanded(held, extras, name) for key, held in some.items()} for some in (found, extras))


def _extras(project, tool, setup_cfg, setup_py, info) -> dict[str, list[str]]:
    """Return the requirements of every extra that any of the project's files declares."""
    extras = {str(k): strings_in(v) for k, v in table_of(project, "optional-dependencies").items()}
    poetry = table_of(tool, "poetry")
    wanted = {k: {**v, "optional": False} if isinstance(v, dict) else v
              for k, v in table_of(poetry, "dependencies").items()}
    named = {normalized(name_of(r)): r for r in from_poetry(wanted)}
    for extra, names in table_of(poetry, "extras").items():
        extras.setdefault(extra, [named.get(normalized(n), n) for n in strings_in(names)])
    for extra, held in table_of(tool, "flit", "metadata", "requires-extra").items():
        extras.setdefault(extra, strings_in(held))
    for extra, text in section_of(setup_cfg, "options.extras_require").items():
        extras.setdefault(extra, lines_of(text))
    if isinstance(setup_py.get("extras_require"), dict):
        for extra, held in setup_py["extras_require"].items():
            extras.setdefault(str(extra), strings_in(held if isinstance(held, (list, tuple)) else [held]))
    for extra, held in info.get("extras", {}).items():
        extras.setdefault(extra, held)
    return extras


def _groups(pyproject) -> dict[str, list[str]]:
    """Return dependency groups from PEP 735, including nested ones, and from poetry, pdm and uv."""
    raw = table_of(pyproject, "dependency-groups")
    by_name = {normalized(name): entries for name, entries in reversed(raw.items())
               if isinstance(entries, list)}

    def held(name: str, seen: set[str]) -> list[str]:
        """Return the requirements of a group and its included groups; cycles are allowed."""
        if name in seen:
            return []
        seen.add(name)
        entries = by_name.get(name, [])
        included = [str(entry.get("include-group", "")) for entry in entries if isinstance(entry, dict)]
        return [*strings_in(entries), *(r for group in included for r in held(normalized(group), seen))]
    groups = {name: held(normalized(name), set()) for name in raw}
    poetry, tool = table_of(pyproject, "tool", "poetry"), table_of(pyproject, "tool")
    for name, group in table_of(poetry, "group").items():
        groups.setdefault(name, from_poetry(table_of(group, "dependencies")))
    if poetry.get("dev-dependencies"):
        groups.setdefault("dev", from_poetry(table_of(poetry, "dev-dependencies")))
    for name, requirements in table_of(tool, "pdm", "dev-dependencies").items():
        groups.setdefault(name, strings_in(requirements))
    if wanted := strings_in(table_of(tool, "uv").get("dev-dependencies")):
        groups.setdefault("dev", wanted)
    return groups


def _of_tools(source, tool, tox_ini) -> tuple[set[str], set[str], list[str]]:
    """Return (extras, groups, requirements) that hatch, tox and nox install for the tests."""
    extras: set[str] = set()
    groups: set[str] = set()
    plain: list[str] = []
    for name, env in table_of(tool, "hatch", "envs").items():
        if isinstance(env, dict) and (name == "default" or is_test_group(name)):
            plain += strings_in(env.get("dependencies", [])) + strings_in(env.get("extra-dependencies", []))
            extras |= set(strings_in(env.get("features", [])))
            groups |= set(strings_in(env.get("dependency-groups", [])))
    tox, legacy = table_of(tool, "tox"), empty_ini()
    with contextlib.suppress(configparser.Error):   # what was read before the error is kept
        legacy.read_string(str(tox.get("legacy_tox_ini", "")))
    for table in (tox, read_toml(source, "tox.toml")):
        env = table_of(table, "env_run_base")
        plain += strings_in(env.get("deps", []))
        extras |= set(strings_in(env.get("extras", [])))
        groups |= set(strings_in(env.get("dependency_groups", [])))
    for ini in (tox_ini, legacy):
        for section in ini.sections():
            if section == "testenv" or re.match(r"testenv:(?:py|test|unit)", section):
                extras |= set(_tox_lines(value_of(ini, section, "extras")))
                groups |= set(_tox_lines(value_of(ini, section, "dependency_groups")))
                plain += _tox_requirements(source, _tox_lines(value_of(ini, section, "deps")), extras)
    for words in source.parsed("noxfile.py", _nox_installs, []):
        plain += _from_words(source, words, extras, groups)
    return extras, groups, plain


def _tox_lines(text: str) -> list[str]:
    """Return the entries of a tox value, separated by lines or commas, without their factor
    (`py311: x`). Entries of factors that do not run tests, such as docs, are left out."""
    out = []
    for line in re.split(r"[\n,](?![^\[]{0,200}\])", text or ""):
        factor = re.match(r"\s*([\w!{},.-]+):\s+(.*)", line)
        if factor and not re.search(r"!|\bpy(?:3|311)?\b|test", factor[1]):
            continue
        line = (factor[2] if factor else line).strip()
        if line and not line.startswith("#") and "{[" not in line:
            out.append(line.replace("{toxinidir}/", "").replace("{tox_root}/", ""))
    return out


def _tox_requirements(source: RepositoryFiles, lines: list[str], extras: set[str]) -> list[str]:
    """Return the requirements among tox's deps; add the project's extras among them to `extras`."""
    out = []
    for line in lines:
        if other := re.match(r"-r\s*(\S+)", line):
            held, their_extras = read_file(source, other[1])
            out, _ = out + held, extras.update(their_extras)
        elif own := re.match(r"(?:-e\s*)?\.\[([^\]]+)\]", line):
            extras.update(part.strip() for part in own[1].split(","))
        elif not line.startswith(("-", ".", "/")) and "{" not in line and "://" not in line:
            out.append(line)
    return out


def _nox_installs(text: str) -> list[list[str]]:
    """Return the constant arguments of each session.install(…) in the sessions that run tests."""
    found = []
    for function in (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)):
        if is_other_group(function.name):
            continue
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            if isinstance(call.func, ast.Attribute) and call.func.attr == "install":
                words = [part for arg in call.args for part in ([arg] if isinstance(arg, ast.Constant) else [])]
                found.append([str(word.value) for word in words])
    return found


def _from_words(source: RepositoryFiles, words: list[str], extras: set[str], groups: set[str]) -> list[str]:
    """Return a pip command's requirements; add its extras and groups to the sets."""
    out, rest = [], iter(words)
    for word in rest:
        if word in ("-r", "--requirement"):
            held, their_extras = read_file(source, next(rest, ""))
            out, _ = out + held, extras.update(their_extras)
        elif word == "--group":
            groups.add(next(rest, ""))
        elif own := re.match(r"\.\[([^\]]+)\]", word):
            extras.update(part.strip() for part in own[1].split(","))
        elif not word.startswith(("-", ".", "/")) and name_of(word):
            out.append(word)
    return out


def _requirement_files(source: RepositoryFiles) -> list[PurePosixPath]:
    """Return the requirements files for tests or developers in the usual places, tests first."""
    found = []
    for folder in ("", "requirements/", "reqs/", "ci/", *(f"{name}/" for name in TEST_FOLDERS)):
        for path in map(PurePosixPath, source.matching(f"{folder}*")):
            whole = f"{path.parent.name}-{path.stem}"
            label = path.stem if folder in ("", "ci/") else whole
            is_list = path.suffix in (".txt", ".in", ".pip") and re.search("req|depend", whole)
            if is_list and "constraint" not in path.stem and (is_test_group(label) or is_developers_group(label)):
                found.append(path)
    return sorted(found, key=lambda path: not is_test_group(f"{path.parent.name}-{path.stem}"))


def bare_requirements(source: RepositoryFiles) -> tuple[str, ...]:
    """Return the requirements of a project that is no package, from requirements.txt or Pipfile."""
    found = read_file(source, "requirements.txt")[0] or read_file(source, "requirements.in")[0]
    return merged(found, from_poetry(table_of(read_toml(source, "Pipfile"), "packages")))
