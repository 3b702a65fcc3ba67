"""Repair Python recipes: return the recipe with fixes that its log suggests, or None if there are
none.

Each rule looks for its own signs in the log and returns the changed recipe, or the same one. All
rules read each log, so that one round applies every fix that the log shows.
"""
from __future__ import annotations

import re
from dataclasses import replace

from codedata.env.recipes.package_index import brings_option, distribution_of, normalized, table
from codedata.env.recipes.python_recipe import PythonRecipe
from codedata.env.recipes.repair import SYSTEM, Log, found, found_by, with_system
from codedata.env.recipes.requirements import name_of

ASKED_FOR = re.compile(r"pip3? install [-'\"`\w ]*?([\w.-]+)\[([\w, .-]+)\]")   # (project, extras)
TOO_OLD = ('required field "lineno" missing from alias', 'required field "end_lineno" missing from')   # pytest < 6.2.5
NEWEST_PYTEST, OLDEST_PYTEST = 9, 6   # majors: pip's default, and the oldest that is tried


def repair(recipe: PythonRecipe, log: Log) -> PythonRecipe | None:
    """Return the recipe with every fix that the log suggests, or None if there is none."""
    better = recipe
    for rule in (*SYSTEM, *(IN_INSTALL if log.phase == "install" else IN_TESTS)):
        better = rule(better, log)
    if better == recipe and log.phase == "test":
        better = skipped(recipe, log)
    return better if better != recipe else None


def with_tests(recipe: PythonRecipe, *requirements: str) -> PythonRecipe:
    """Return the recipe with requirements added whose distribution it lacks. They are not filtered
    as merged() filters, because here they are known to be needed."""
    have = {name_of(r) for r in recipe.tests} | {name_of(recipe.project.name)}
    new = [r for r in requirements if r and name_of(r) not in have]
    return replace(recipe, tests=(*recipe.tests, *dict.fromkeys(new)))


# in the install ------------------------------------------------------------------------------------------------------

def build_modules(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Return the recipe that preinstalls the modules that the build imports without requiring them,
    in the environment, which the build then uses without isolation."""
    names = [distribution_of(module) for module in found(r"ModuleNotFoundError: No module named '([\w.]+)'", log.text)
             if module.partition(".")[0] not in recipe.project.modules]
    new = [name for name in names if name and name_of(name) not in {name_of(r) for r in recipe.build}]
    if not new:
        return recipe
    before = recipe.build or (*recipe.project.build_requires, "setuptools", "wheel")
    return replace(recipe, build=tuple(dict.fromkeys([*new, *before])))


def without_package(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Return the recipe that puts the source on the path instead of installing it, if pip does not
    accept it as a package."""
    signs = ("Multiple top-level packages discovered", "does not appear to be a Python project",
             "neither 'setup.py' nor 'pyproject.toml' found")
    return replace(recipe, installed=False) if any(sign in log.text for sign in signs) else recipe


def not_editable(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Return the recipe without an editable install if the build backend does not support one."""
    signs = ("missing the 'build_editable' hook", "does not support editable")
    return replace(recipe, editable=False) if any(sign in log.text for sign in signs) else recipe


def version(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Return the recipe that sets the version if the build needs a git tag that is missing."""
    signs = ("unable to detect version", "Versioning for this project requires either an sdist tarball",
             "Error getting the version from source `vcs`")
    if not any(sign in log.text for sign in signs) or "SETUPTOOLS_SCM_PRETEND_VERSION" in recipe.env:
        return recipe
    given = recipe.project.version or "999.0"
    return replace(recipe, env=recipe.env | {"SETUPTOOLS_SCM_PRETEND_VERSION": given, "PBR_VERSION": given})


def old_build_tools(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Return the recipe with an older setuptools if setup.py does not work with a newer one."""
    signs = ("AttributeError: install_layout", "use_2to3 is invalid", "has no attribute 'ImpImporter'",
             "canonicalize_version()", "cannot import name 'msvccompiler'")
    if not any(sign in log.text for sign in signs):
        return recipe
    return replace(recipe, build=("setuptools<58" if "use_2to3" in log.text else "setuptools<70", "wheel"))


IN_INSTALL = (build_modules, without_package, not_editable, version, old_build_tools)


# in the tests --------------------------------------------------------------------------------------------------------

def modules(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Return the recipe with modules added that tests failed to import. The project's own modules
    are added only if packages.toml lists them, since an unrelated distribution may have the same
    name."""
    return with_modules(recipe, found_by((r"(?:ModuleNotFound|Import)Error: No module named '?([\w.]+)'?",
                                          r"^E?\s*No module named '?([\w.]+)'?$"), log.text))


def own_extras(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Return the recipe with the extras that messages ask for: `pip install name[extra]`."""
    extras = [normalized(extra.strip()) for project, extras in ASKED_FOR.findall(log.text)
              if name_of(project) == name_of(recipe.project.name) for extra in extras.split(",")]
    return with_tests(recipe, *(r for extra in extras for r in recipe.project.extras.get(extra, ())))


def skipped(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Return the recipe with modules added whose absence skips tests. It is tried last, because
    optional modules may break tests that pass."""
    return with_modules(recipe, found_by((r"could not import '([\w.]+)'",
                                          r"ModuleNotFoundError\([\"']No module named '([\w.]+)'"), log.text))


def with_modules(recipe: PythonRecipe, names: list[str]) -> PythonRecipe:
    """Return the recipe with the distributions or extras added that provide the named modules."""
    known, extras = table("packages")["modules"], recipe.project.extras
    missing = [name for name in names if (top := name.partition(".")[0]) not in recipe.project.modules or top in known]
    return with_tests(recipe, *(r for name in missing for r in extras.get(normalized(name), ())   # an extra of its name
                                or [_as_declared(recipe, distribution_of(name))]))


def _as_declared(recipe: PythonRecipe, distribution: str) -> str:
    """Return the distribution with the version that the project requires elsewhere, if any."""
    declared = (*recipe.project.developers, *recipe.project.features)
    return next((r for r in declared if name_of(r) == name_of(distribution)), distribution)


def plugins(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Return the recipe with the pytest plugins whose options, fixtures or marks are missing."""
    tables, project_says = table("packages"), " ".join((*recipe.project.developers, *recipe.project.features)).lower()
    options = [option for line in found(r"error: unrecognized arguments: (.*)", log.text) for option in line.split()]
    names = [brings_option(option) for option in options]
    names += [tables["fixtures"].get(name, "") for name in found(r"fixture '(\w+)' not found", log.text)]
    marks = found_by((r"'(\w+)' not found in `?markers`? configuration", r"Unknown pytest\.mark\.(\w+)"), log.text)
    names += [tables["marks"].get(name, "") for name in marks]
    names += [name.strip() for line in found(r"Missing required plugins: (.*)", log.text) for name in line.split(",")]
    if "async def functions are not natively supported" in log.text:
        names.append("anyio" if "anyio" in project_says and "pytest-asyncio" not in project_says else "pytest-asyncio")
    if "fixture 'testdir' not found" in log.text or "fixture 'pytester' not found" in log.text:
        recipe = with_options(recipe, "-p", "pytester")
    return with_tests(recipe, *(_as_declared(recipe, name) for name in names))


def with_options(recipe: PythonRecipe, *options: str) -> PythonRecipe:
    """Return the recipe with pytest options added, unless it has them."""
    joined, have = " ".join(options), " ".join(recipe.options)
    return recipe if joined in have else replace(recipe, options=(*recipe.options, *options))


def pytest_version(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Return the recipe with another pytest version. It is older if the suite uses removed
    features: below the version that the log names, or else one major version less. It is newer if
    the required version is too old for this Python."""
    named = [f"<{min(map(int, removed))}" for removed in [found(r"PytestRemovedIn(\d+)Warning", log.text)] if removed]
    named += found(r"requires pytest(<[\d.]+)", log.text)
    gone = (r"module '_?pytest[\w.]*' has no attribute", r"cannot import name '\w+' from '_?pytest",
            r"No module named '_pytest\.", r"PluginValidationError", r"'py\.path\.local'\) argument",
            r"object has no attribute '_pytest\w*'")
    if not named and any(re.search(sign, log.text) for sign in gone):
        bounds = found(r"^pytest<(\d+)$", "\n".join(recipe.tests))
        named = [f"<{int(bounds[0]) - 1 if bounds else NEWEST_PYTEST}"]
    if any(sign in log.text for sign in TOO_OLD):
        named = [">=7,<8"]
    bound = f"pytest{named[0]}" if named else ""
    if not bound or bound in recipe.tests or bound == f"pytest<{OLDEST_PYTEST}":
        return recipe
    return replace(recipe, tests=(*(r for r in recipe.tests if name_of(r) != "pytest"), bound))


def warnings_are_errors(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Return the recipe that does not turn warnings into errors, if `filterwarnings = error` fails
    tests because libraries are newer than the suite."""
    strict = len(re.findall(r"^E\s+(?:[\w.]+\.)?\w*Warning: ", log.text, re.MULTILINE))
    return with_options(recipe, "-W", "default") if strict else recipe


def same_names(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Return the recipe in importlib mode if test files of the same name collide."""
    return with_options(recipe, "--import-mode=importlib") if "import file mismatch" in log.text else recipe


def strict_configuration(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Return the recipe that accepts settings which this version of pytest does not know."""
    refused = log.not_run and "Unknown config option" in log.text
    return with_options(recipe, "-o", "strict_config=false") if refused else recipe


def locales(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Return the recipe with the locales added that the tests need."""
    if not re.search(r"unsupported locale setting|locale\.Error", log.text):
        return recipe
    names = found(r"\b([a-z]{2}_[A-Z]{2})\.?(?:UTF-?8|utf-?8)", log.text)
    wanted = {f"{name}.UTF-8" for name in ("en_US", *names)}
    return replace(recipe, locales=tuple(sorted({*recipe.locales, *wanted})))


def time_zones(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Return the recipe with time zone data from PyPI and Debian if it is missing."""
    signs = ("No time zone found with key", "zoneinfo/", "ZoneInfoNotFoundError", "tzlocal", "/usr/share/zoneinfo")
    return with_system(with_tests(recipe, "tzdata"), ("tzdata",)) if any(sign in log.text for sign in signs) else recipe


def permissions(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Return the recipe that runs the tests as another user, if they fail as root, for example
    because root may write everywhere."""
    signs = (r"DID NOT RAISE .*(?:PermissionError|OSError)", r"PermissionError not raised", r"running as root is not",
             r"(?i:(?:cannot|can't|must not|should not) be run as root)",
             r"(?i:as the \"root\" user|as root is not permitted)")
    return replace(recipe, not_root=True) if any(re.search(sign, log.text) for sign in signs) else recipe


def loopback(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Return the recipe that limits localhost to IPv4 if the tests' servers cannot listen on
    IPv6."""
    refused = re.search(r"Cannot assign requested address|Address family not supported|EADDRNOTAVAIL", log.text)
    named = re.search(r"'::1?'|\[::1?\]|failed to bind|could not bind", log.text)
    return replace(recipe, only_ipv4=True) if refused and named else recipe


def servers(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Return the recipe with the servers and databases added that the log shows as missing."""
    names = [name for name, service in table("packages")["services"].items()
             if any(sign in log.text for sign in service["signs"])
             and re.search("|".join((*map(str, service["ports"]), "socket")), log.text)]
    databases = found_by((r'database "([\w-]+)" does not exist', r"Unknown database '([\w-]+)'"), log.text)
    refused = re.search(r"(?i:refused|no such file|can't connect|failed)", log.text)
    return replace(recipe, services=tuple(sorted({*recipe.services, *(names if refused else ())})),
                   databases=tuple(sorted({*recipe.databases, *databases})))


def hanging(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Return the recipe without the test that was running when time ran out or when pytest-timeout
    ended the process. The second time that the same test hangs with other parameters, all its
    parameters are left out."""
    if recipe.runner != "pytest" or not (log.timed_out or re.search(r"\+{5,} Timeout \+{5,}", log.text)):
        return recipe
    outcome = r"(?: (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b.*)?"
    started = re.findall(rf"^(\S+\.py::\S.*?){outcome}$", log.text, re.MULTILINE)
    hung = next((name.strip() for name, outcome in reversed(started) if not outcome), "")
    if not hung or hung in recipe.deselected:
        return recipe
    test = hung.partition("[")[0]
    others = [name for name in recipe.deselected if name.partition("[")[0] != test]
    return replace(recipe, deselected=(*others, hung if len(others) == len(recipe.deselected) else test))


def own_runner(recipe: PythonRecipe, log: Log) -> PythonRecipe:
    """Return the recipe with the project's own runner if pytest ran the functions test_suite() as
    tests, as they only put a suite together."""
    if recipe.runner != "pytest" or not recipe.project.runner or "::test_suite PASSED" not in log.text:
        return recipe
    return replace(recipe, runner="own")


IN_TESTS = (own_runner, modules, own_extras, plugins, pytest_version, warnings_are_errors, same_names,
            strict_configuration, locales, time_zones, permissions, loopback, servers, hanging)
