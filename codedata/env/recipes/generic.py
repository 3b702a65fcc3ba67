"""Make recipes for projects tested by their build tool: Go, Cargo, Maven, Gradle, CMake, make."""
from __future__ import annotations

import re
from dataclasses import dataclass

from codedata.env.recipes import script
from codedata.env.recipes.repair import COMPILER, SYSTEM, Log
from codedata.env.recipes.repository_files import RepositoryFiles

BUILD = "/opt/build"
COPY_JUNIT = f"find . -path '*{{}}*' -name '*.xml' -exec cp --parents -t {script.RESULTS} {{{{}}}} +"
JDK = "default-jdk-headless"
GRADLE = "--no-daemon --offline --continue test --rerun-tasks"
TOOLS = {   # file → (Debian packages, lines that install, environment of both scripts, lines that test)
    "go.mod": (("golang-go", "gcc", "libc6-dev"),
               ("[ -d vendor ] || go mod download",
                "go test -count=1 -run '^$' ./... >/dev/null || true   # compiled here, with the network on"),
               {"GOTOOLCHAIN": "local"}, (f"go test -count=1 -json ./... >{script.RESULTS}/go.json",)),
    "Cargo.toml": (("cargo", "gcc", "libc6-dev", "pkg-config"), ("cargo fetch", "cargo test --no-run"),
                   {"CARGO_TARGET_DIR": BUILD},
                   (f"cargo test --offline --no-fail-fast 2>&1 | tee {script.RESULTS}/cargo.txt",)),
    "pom.xml": (("maven", JDK), ("mvn -B -q dependency:go-offline", "mvn -B -q test -DskipTests"), {},
                ("mvn -B -o -fae test", COPY_JUNIT.format("/surefire-reports/"))),
    "gradlew": ((JDK,), ("sh ./gradlew --no-daemon testClasses",), {},
                (f"sh ./gradlew {GRADLE}", COPY_JUNIT.format("/test-results/"))),
    "build.gradle": (("gradle", JDK), ("gradle --no-daemon testClasses",), {},
                     (f"gradle {GRADLE}", COPY_JUNIT.format("/test-results/"))),
    "CMakeLists.txt": ((*COMPILER, "cmake"), (f"cmake -S . -B {BUILD}", f"cmake --build {BUILD} -j 2"), {},
                       (f"cmake --build {BUILD} -j 2",
                        f"ctest --test-dir {BUILD} --output-junit {script.RESULTS}/ctest.xml")),
    "Makefile": (COMPILER, ("make",), {}, ()),
}
TARGETS = ("check", "test", "tests")   # test targets in Makefiles


@dataclass(frozen=True)
class PlainRecipe:
    """Describe one way to install and test a project with its build tool."""

    file: str                           # a key of TOOLS
    system: tuple[str, ...] = ()
    wished: tuple[str, ...] = ()
    target: str = ""                    # the make target that runs the tests
    excluded_tests: tuple[str, ...] = ()

    @property
    def planner(self) -> str:
        """Return the name of the build file, which names the kind of recipe."""
        return self.file

    def install_script(self) -> str:
        """Return the bash script that installs the build tool and the dependencies."""
        _, install, env, _ = TOOLS[self.file]
        lines = script.head(f"Install what {self.file} asks for: {script.WHERE_INSTALLED}", strict=True)
        lines += script.exports(env | {"DEBIAN_FRONTEND": "noninteractive"})
        return script.text([*lines, *script.apt(self.system, self.wished), *script.git_user(), *install])

    def test_script(self) -> str:
        """Return the bash script that runs the tests and writes reports to script.RESULTS."""
        _, _, env, test = TOOLS[self.file]
        lines = script.head(f"Run the tests: in the source folder. Reports go to {script.RESULTS}.", strict=False)
        lines += [*script.exports(env), *script.empty_results()]
        return script.text([*lines, *script.in_turn(
            test or [f"make -k {self.target} 2>&1 | tee {script.RESULTS}/make.txt"])])


def initial(source: RepositoryFiles, wished: tuple[str, ...] = ()) -> PlainRecipe | None:
    """Return the recipe for the first build file that exists, or None if there is none or if it is
    a Makefile without a test target."""
    file = next((name for name in TOOLS if source.has(name)), "")
    target = source.parsed(file, _target, "") if file == "Makefile" else ""
    if not file or (file == "Makefile" and not target):
        return None
    return PlainRecipe(file, TOOLS[file][0], wished, target)


def _target(text: str) -> str:
    """Return the test target of a Makefile, or "" if it has none."""
    named = re.findall(r"^([\w-]+)\s*:(?!=)", text, re.MULTILINE)
    return next((name for name in TARGETS if name in named), "")


def repair(recipe: PlainRecipe, log: Log) -> PlainRecipe | None:
    """Return the recipe with the system packages that the log suggests, or None for none."""
    better = recipe
    for rule in SYSTEM:
        better = rule(better, log)
    return better if better != recipe else None


def fallback(recipe: PlainRecipe, collected: bool) -> PlainRecipe | None:
    """Return None, because a build tool offers only one way."""
    return None
