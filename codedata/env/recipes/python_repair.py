"""Repair Python recipes: apply the fixes that a log suggests, or choose the next more expensive
recipe.

repairs.toml lists the fixes that depend only on a pattern in the log. The other fixes are rules in
this module: a rule searches the log and returns the changed recipe, or the same one.
"""
from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

from packaging.utils import canonicalize_name

from codedata.env.recipes.package_index import distribution_of, provider, table
from codedata.env.recipes.python_recipe import PythonRecipe
from codedata.env.recipes.repair import Log, extended, fitting, repaired
from codedata.env.recipes.requirements import merged, name_of

ASKED_FOR = re.compile(r"pip3? install [-'\"`\w ]*?([\w.-]+)\[([\w, .-]+)\]")   # project[extras]
NEWEST_PYTEST, OLDEST_PYTEST = 9, 6   # majors: pip's default, and the oldest that is tried


def repair(recipe: PythonRecipe, log: Log) -> PythonRecipe | None:
    """Return the recipe with every fix that the log suggests, or None if there is none. Only if
    there is no other fix, add modules whose absence skips tests: they may break passing tests."""
    if log.phase == "install":
        return repaired(recipe, log, build_modules, version)
    return repaired(recipe, log, own_runner, modules, own_extras, plugins, pytest_version, locales,
                    servers, hanging) or repaired(recipe, log, partial(modules, kind="skipped"))


def with_tests(recipe: PythonRecipe, *requirements: str) -> PythonRecipe:
    """Return the recipe with the requirements whose distributions it lacks. Unlike merged(), filter
    nothing out, since the log shows that they are needed."""
    # requirements with a marker may be for other versions of Python
    present = {name_of(r) for r in ("", *recipe.tests, recipe.project.name) if ";" not in r}
    return extended(recipe, tests=[r for r in requirements if name_of(r) not in present])


def fallback(recipe: PythonRecipe, collected: bool) -> PythonRecipe | None:
    """Return the next more expensive recipe, or None: first with all requirements of developers and
    features, then, if no test was collected, with another test runner."""
    project = recipe.project
    wider = merged(recipe.tests, project.developers, project.features, project.listed,
                   without=project.name)
    if not recipe.widened and wider != recipe.tests:
        return replace(recipe, tests=wider, widened=True)
    runners = table("tools")["python"]["runners"]
    names = [name for name in runners if name != "own" or project.runner]
    following = names[names.index(recipe.runner) + 1:]
    if collected or not following:
        return None
    tests = merged(recipe.tests, runners[following[0]]["requirements"], without=project.name)
    return replace(recipe, runner=following[0], tests=tests)


# in the install ----------------------------------------------------------------------------------

def build_modules(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Add the modules that the build imports but does not require, and build without isolation."""
    present = {"", *map(name_of, recipe.build)}
    names = [distribution_of(module) for module in log.matches("build_modules")
             if module.partition(".")[0] not in recipe.project.modules]
    new = [name for name in names if name_of(name) not in present]
    before = recipe.build or (*recipe.project.build_requires, "setuptools", "wheel")
    return extended(replace(recipe, build=()), build=(*new, *before)) if new else recipe


def version(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Set the version by environment variables if the build needs a git tag that is missing."""
    name = "SETUPTOOLS_SCM_PRETEND_VERSION"
    if name in recipe.env or not log.matches("no_version"):
        return recipe
    given = recipe.project.version or "999.0"
    return replace(recipe, env=recipe.env | {name: given, "PBR_VERSION": given})


# in the tests ------------------------------------------------------------------------------------

def modules(recipe: PythonRecipe, log: Log, kind: str = "modules") -> PythonRecipe:
    """Add distributions or extras for the modules that tests failed to import. For a module of the
    project itself, do so only if packages.toml lists the module, since an unrelated distribution
    may have its name."""
    known, extras = table("packages")["modules"], recipe.project.extras
    for name in log.matches(kind):
        top = name.partition(".")[0]
        if top in known or top not in recipe.project.modules:
            of_extra = extras.get(canonicalize_name(name))   # an extra of the module's name
            recipe = with_tests(recipe, *of_extra or [_as_declared(recipe, distribution_of(name))])
    return recipe


def own_extras(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Add the project's extras that messages ask for: `pip install name[extra]`."""
    for project, extras in ASKED_FOR.findall(log.text):
        if name_of(project) == name_of(recipe.project.name):
            for extra in map(str.strip, extras.split(",")):
                recipe = with_tests(
                    recipe, *recipe.project.extras.get(canonicalize_name(extra), ()))
    return recipe


def _as_declared(recipe: PythonRecipe, distribution: str) -> str:
    """Return the project's own requirement of a distribution, with its version, if there is one;
    else the distribution."""
    declared = (*recipe.project.developers, *recipe.project.features, *recipe.project.listed)
    return next((r for r in declared if name_of(r) == name_of(distribution)), distribution)


def plugins(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Add the pytest plugins for missing options, fixtures or marks, and the requirements for tests
    from the rules in repairs.toml."""
    names = [provider("options", option) for line in log.matches("options")
             for option in line.split()]
    names += [provider(kind, name) for kind in ("fixtures", "marks") for name in log.matches(kind)]
    names += [name.strip() for line in log.matches("plugins") for name in line.split(",")]
    names += [name for rule in fitting(recipe, log) for name in rule.get("tests", ())]
    if "async def functions are not natively supported" in log.text:
        declared = " ".join((*recipe.project.developers, *recipe.project.features)).lower()
        has_anyio = "anyio" in declared and "pytest-asyncio" not in declared
        names.append("anyio" if has_anyio else "pytest-asyncio")
    return with_tests(recipe, *(_as_declared(recipe, name) for name in names))


def pytest_version(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Change the version of pytest. If the suite uses removed features, take an older version:
    below the version that the log names, or one major version less. If the required version is too
    old for this Python, take a newer one."""
    removed = [int(n) for n in log.matches("pytest_removals")]
    bounds = [f"<{min(removed)}"] if removed else log.matches("pytest_bounds")
    if not bounds and log.matches("pytest_too_new"):
        tried = [int(r.removeprefix("pytest<")) for r in recipe.tests
                 if re.fullmatch(r"pytest<\d+", r)]
        bounds = [f"<{tried[0] - 1 if tried else NEWEST_PYTEST}"]
    if log.matches("pytest_too_old"):
        bounds = [">=7,<8"]
    wanted = "".join(f"pytest{bound}" for bound in bounds[:1])
    if wanted in ("", *recipe.tests, f"pytest<{OLDEST_PYTEST}"):
        return recipe
    return replace(recipe, tests=(*(r for r in recipe.tests if name_of(r) != "pytest"), wanted))


def locales(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Add the locales that the tests need."""
    if not log.matches("no_locale"):
        return recipe
    wanted = {f"{name}.UTF-8" for name in ("en_US", *log.matches("locales"))}
    return replace(recipe, locales=tuple(sorted({*recipe.locales, *wanted})))


def servers(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Add the servers and databases that are missing according to the log."""
    wanted = {*recipe.services}
    if log.matches("no_connection"):
        wanted |= {name for name, service in table("packages")["services"].items()
                   if any(sign in log.text for sign in service["signs"])
                   and log.shows(["socket", *map(str, service["ports"])])}
    databases = {*recipe.databases, *log.matches("databases")}
    return replace(recipe, services=tuple(sorted(wanted)), databases=tuple(sorted(databases)))


def hanging(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Exclude the test that was running when time ran out or when pytest-timeout ended the process.
    If a test hangs again with other parameters, exclude it with all its parameters."""
    if recipe.runner != "pytest" or not (log.timed_out or log.matches("timeout")):
        return recipe
    outcome = r"(?: (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b.*)?"
    started = re.findall(rf"^(\S+\.py::\S.*?){outcome}$", log.text, re.MULTILINE)
    hung = next((name.strip() for name, outcome in reversed(started) if not outcome), "")
    if not hung or hung in recipe.excluded_tests:
        return recipe
    test = hung.partition("[")[0]
    others = tuple(name for name in recipe.excluded_tests if name.partition("[")[0] != test)
    excluded = hung if others == recipe.excluded_tests else test
    return replace(recipe, excluded_tests=(*others, excluded))


def own_runner(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Use the project's own test runner if pytest ran a function test_suite() as a test: it only
    builds a suite."""
    is_suite = recipe.runner == "pytest" and "::test_suite PASSED" in log.text
    return replace(recipe, runner="own") if is_suite and recipe.project.runner else recipe
