"""Check that what is verified works from nothing, offline, without a look at the future."""
from __future__ import annotations

import resource
import subprocess
from pathlib import Path

import pytest

from codedata.env.isolation import Project, history_after
from codedata.env.verify import RESULTS, Limits, Verifier, put_source
from codedata.sandbox import open_sandbox

pytestmark = pytest.mark.docker
RUN, BASE = "test-verify", "codedata-base:bookworm"
NOTHING = "#!/usr/bin/env bash\n"
TESTS = (f"mkdir -p {RESULTS} && python3 -m pytest -p no:cacheprovider -o junit_family=xunit1 "
         f"--junitxml={RESULTS}/r.xml")
LIMITS = Limits(install_s=60, test_s=60)


def opener(image: str):
    return open_sandbox("docker", image=image or BASE, workdir="/testbed", scripts=[],
                        run_label=RUN)


@pytest.fixture
def source(tmp_path):
    """Write a small module with a test, as a folder without a history."""
    folder = tmp_path / "heron"
    (folder / "tests").mkdir(parents=True)
    (folder / "heron.py").write_text("def wade():\n    return 'slowly'\n")
    (folder / "tests" / "test_heron.py").write_text("import heron\n")
    add_test(folder, "def test_wade():\n    assert heron.wade() == 'slowly'")
    return folder


def add_test(source: Path, body: str) -> None:
    with open(source / "tests" / "test_heron.py", "a") as file:
        file.write(f"\n\n{body}\n")


def check(source: Path, install: str = NOTHING, test: str = TESTS, **how):
    project = how.pop("project", Project(source, distribution="heron", modules=("heron",)))
    limits, image_name = how.pop("limits", LIMITS), how.pop("image_name", "")
    return Verifier(opener, project, limits, image_name).verify(install, test, **how)


@pytest.fixture
def image_name():
    name = "codedata-test/verify:heron"
    yield name
    subprocess.run(["docker", "rmi", "-f", name], capture_output=True)


def test_what_works_is_verified_case_by_case(source):
    add_test(source, "def test_it_fails():\n    assert heron.wade() == 'fast'")
    found = check(source)
    assert found.ok and not found.healthy and (found.n_passed, found.n_cases) == (1, 2)
    assert found.results == [{"name": "tests/test_heron.py::test_it_fails", "status": "failed"},
                             {"name": "tests/test_heron.py::test_wade", "status": "passed"}]
    assert (found.cause.name, found.cause.evidence) == ("tests_fail",
                                                        "tests/test_heron.py::test_it_fails")
    assert len(found.test_s) == 4


def test_nothing_of_a_script_is_left_in_the_shell_for_the_next(source):
    """Run it also in a sandbox that keeps directory and environment between commands."""
    def keeping(image: str):
        return open_sandbox("docker", image=image or BASE, workdir="/testbed", run_label=RUN)
    project = Project(source, distribution="heron", modules=("heron",))
    found = Verifier(keeping, project, LIMITS).verify(
        "cd /; export PYTEST_ADDOPTS=--nonsense; set -eu\n", TESTS)
    assert found.ok and found.healthy


def test_an_install_that_fails_is_named_with_its_line(source):
    missing = "echo 'x.c:1:10: fatal error: pan.h: No such file' >&2"
    found = check(source, install=f"echo start\n{missing}\nexit 1\n")
    assert (found.failed, found.cause.name, found.phase) == ("install", "missing_header", "install")
    assert "pan.h" in found.cause.evidence


def test_a_suite_in_which_nothing_passes_is_not_verified(source):
    found = check(source, test=f"{TESTS} --deselect tests/test_heron.py::test_wade")
    assert found.failed == "tests" and found.cause.name == "no_tests" and not found.results


def test_time_is_limited_and_the_cause_says_so(source):
    assert check(source, install="sleep 60", limits=Limits(2, 2)).cause.name == "time_limit"
    found = check(source, test=f"{TESTS}; sleep 60", limits=Limits(60, 4))
    assert found.timed_out and not found.healthy


def test_cases_that_differ_between_runs_are_listed_and_are_no_result(source):
    for n in range(4):
        add_test(source, f"def test_steady_{n}():\n    pass")
    add_test(source, "def test_toggles():\n    from pathlib import Path\n"
                     "    seen = Path('/tmp/seen').exists()\n"
                     "    Path('/tmp/seen').unlink() if seen else Path('/tmp/seen').touch()\n"
                     "    assert not seen")
    found = check(source)
    assert found.ok and found.flaky == ["tests/test_heron.py::test_toggles"]
    assert len(found.results) == 5 and all(case["status"] == "passed" for case in found.results)


def test_files_that_report_no_result_are_listed(source):
    for name in ("reeds", "tide"):
        (source / "tests" / f"test_{name}.py").write_text("def test_it():\n    pass\n")
    found = check(source, test=f"{TESTS} tests/test_heron.py")
    assert found.ok and found.n_test_files == 3
    assert found.unreported_files == ["tests/test_reeds.py", "tests/test_tide.py"]
    assert check(source).unreported_files == []


def test_a_suite_whose_names_change_all_the_time_is_not_verified(source):
    add_test(source, "import time\nimport pytest\nNOW = time.time_ns()\n\n\n"
                     "@pytest.mark.parametrize('n', range(NOW, NOW + 9))\ndef test_n(n):\n    pass")
    found = check(source)
    assert (found.failed, found.cause.name) == ("repeat", "unstable")


def test_what_holds_only_with_a_network_is_listed(source):
    add_test(source, "def test_needs_a_network():\n    import socket\n"
                     "    assert len(socket.if_nameindex()) > 1")
    found = check(source)
    assert found.ok and found.needs_network == ["tests/test_heron.py::test_needs_a_network"]
    assert {"name": "tests/test_heron.py::test_needs_a_network",
            "status": "failed"} in found.results
    assert check(source, test=f"{TESTS} -k network").failed == "offline"


def test_the_image_holds_the_install_and_passes_offline(source, image_name):
    add_test(source,
             "def test_installed():\n    assert open('/opt/made').read() == 'by install\\n'")
    found = check(source, install="echo 'by install' > /opt/made", image_name=image_name)
    assert found.ok and found.healthy and found.image_id.startswith("sha256:")
    with opener(image_name) as sandbox:
        assert sandbox.run("cat /opt/made").output == "by install\n"
        assert sandbox.run(f"[ ! -e {RESULTS} ] && [ ! -e /tmp/codedata ]").ok
        assert sandbox.run("git rev-parse HEAD").output.strip() == found.base_commit


def test_only_a_promising_first_run_is_followed_by_others_where_that_is_asked(source):
    add_test(source, "def test_it_fails():\n    assert False")
    found = check(source, only_healthy=True)
    assert found.failed == "tests" and len(found.test_s) == 1 and found.n_passed == 1


@pytest.mark.parametrize("with_image", [True, False], ids=["with an image", "without"])
def test_what_tests_commit_is_no_history_that_the_environment_has(source, image_name, with_image):
    commits = (f"{TESTS}; code=$?; git -c user.name=a -c user.email=a@b.c commit -q "
               "--allow-empty -m more; exit $code")
    found = check(source, test=commits, image_name=image_name if with_image else "")
    assert found.ok and found.healthy, found.cause


def test_an_installed_copy_that_shadows_the_source_is_found(source):
    found = check(source, install="cp heron.py /usr/lib/python3/dist-packages/")
    assert (found.failed, found.cause.name) == ("shadow", "shadowed")
    assert "/usr/lib/python3/dist-packages/heron.py" in found.cause.evidence


WEAKER = "sed -i 's/slowly/fast/' tests/test_heron.py"


def test_what_an_install_changes_of_the_source_is_put_back_before_the_tests(source, image_name):
    (source / "heron.py").write_text("def wade():\n    return 'fast'\n")
    (source / "run.sh").write_text("exit 0\n")
    found = check(source,
                  install=f"{WEAKER}\ngit update-index --assume-unchanged tests/test_heron.py\n")
    assert found.failed == "tests" and found.restored == ["tests/test_heron.py"]
    found = check(source, test=f"{WEAKER}; {TESTS}", image_name=image_name,
                  install="rm heron.py\ntouch made.py\ngit add made.py\nchmod +x run.sh\n")
    assert found.ok
    assert found.restored == ["heron.py"]
    assert found.changed_by_tests == ["tests/test_heron.py"]
    with opener(image_name) as sandbox:
        shown = sandbox.run("git diff HEAD --stat -- '*.py'; git status --porcelain")
        assert shown.output == " M run.sh\n?? made.py\n"
        assert sandbox.run("[ -x run.sh ]").ok


@pytest.mark.parametrize("hide", [
    "mkdir /opt/p && cp -r heron.py tests /opt/p && git config core.worktree /opt/p",
    "echo '*.py filter=k' > .git/info/attributes && git config filter.k.clean 'git show "
    "HEAD:tests/test_heron.py'",
    "git update-index --skip-worktree tests/test_heron.py",
    "git config --global core.ignoreStat true; echo 'tests/*' >> .git/info/exclude"])
def test_settings_of_git_hide_no_change(source, hide):
    (source / "heron.py").write_text("def wade():\n    return 'fast'\n")
    found = check(source, install=f"{hide}\n{WEAKER}\n")
    assert found.failed == "tests" and found.restored == ["tests/test_heron.py"]


def test_a_change_that_the_test_script_takes_back_is_named(source):
    found = check(source, test=f"{WEAKER}; {TESTS}; code=$?; git checkout -q tests; exit $code")
    assert not found.ok
    (source / "heron.py").write_text("def wade():\n    return 'fast'\n")
    found = check(source, test=f"{WEAKER}; {TESTS}; code=$?; git checkout -q tests; exit $code")
    assert found.ok and found.changed_by_tests == ["tests/test_heron.py"]


def test_what_runs_only_where_it_was_installed_is_not_verified(source, image_name):
    """Check that a server that the install started is in no image."""
    for n in range(8):
        add_test(source, f"def test_asks_{n}():\n    import socket\n"
                         "    socket.create_connection(('127.0.0.1', 8123)).close()")
    server = "setsid python3 -m http.server 8123 >/dev/null 2>&1 &\nsleep 2\n"
    found = check(source, install=server, image_name=image_name)
    assert (found.failed, found.cause.name) == ("repeat", "unstable")


def test_what_an_install_puts_before_a_module_of_the_source_is_found(source):
    found = check(source,
                  install="mkdir heron\necho \"def wade(): return 'slowly'\" > heron/__init__.py\n",
                  test=f"export PYTHONPATH=.\n{TESTS}")
    assert (found.failed, found.cause.name) == ("shadow", "shadowed")
    assert "heron/__init__.py" in found.cause.evidence


def test_an_installed_copy_is_found_whatever_way_its_environment_is_named(source):
    install = ("python3 -m venv --without-pip /opt/venv\n"
               "cp heron.py /opt/venv/lib/python3*/site-packages/\n"
               "cd / && python3 -m venv --without-pip /opt/other\n")
    found = check(source, install=install, test=f"export PATH=/opt/venv/bin:$PATH\n{TESTS}")
    assert found.failed == "shadow", found.cause
    found = check(source, install=install.replace("/opt/venv", ".venv"))
    assert found.failed == "shadow" and ".venv/lib" in found.cause.evidence


def test_files_whose_line_ends_git_converts_are_not_taken_for_changed(source):
    (source / ".gitattributes").write_text("*.txt text eol=crlf\n")
    (source / "told.txt").write_bytes(b"one\ntwo\n")
    git(source, "init", "-q")
    git(source, "add", "--all", ":!told.txt")
    blob = git(source, "hash-object", "-w", "--no-filters", "told.txt")
    git(source, "update-index", "--add", "--cacheinfo", f"100644,{blob},told.txt")
    git(source, "commit", "-qm", "one")
    project = Project(source, git(source, "rev-parse", "HEAD"))
    found = check(source, project=project, install="touch told.txt heron.py\n")
    assert found.ok and found.restored == [] == found.changed_by_tests


def test_a_source_that_cannot_be_put_back_fails_the_install(source):
    found = check(source, install="rm -rf .git/objects\n")
    assert found.failed == "install" and "the source cannot be put back" in found.log


# history -----------------------------------------------------------------------------------------

def git(folder: Path, *words: str) -> str:
    me = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    return subprocess.run(["git", *me, *words], cwd=folder, check=True, capture_output=True,
                          text=True).stdout.strip()


def commit_all(folder: Path) -> None:
    """Make a repository of a folder, with one commit of all that is in it."""
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")


@pytest.fixture
def repository(source):
    """Make a repository with the fix after the base commit, in every corner that git has."""
    commit_all(source)
    git(source, "tag", "v1.0")
    (source / "heron.py").write_text("def wade():\n    return 'slowly'  # base\n")
    git(source, "commit", "-qam", "base")
    base = git(source, "rev-parse", "HEAD")
    for where in ("later", "dangling", "tagged"):
        (source / "heron.py").write_text(f"def wade():\n    return 'the fix of 2f8c, {where}'\n")
        git(source, "commit", "-qam", where)
        if where == "dangling":
            git(source, "reset", "-q", "--hard", "HEAD~1")
    git(source, "tag", "-a", "v2.0", "-m", "the fix of 2f8c")
    git(source, "branch", "future")
    git(source, "remote", "add", "origin", "https://example.org/heron.git")
    (source / "heron.py").write_text("stashed fix\n")
    git(source, "stash", "-q")
    git(source, "gc", "-q")
    return source, base


def test_nothing_of_the_history_after_the_base_commit_is_left(repository):
    source, base = repository
    with opener("") as sandbox:
        assert put_source(sandbox, Project(source, base)) == (base, "")
        assert history_after(sandbox, base) == []
        assert sandbox.run("git log --all --format=%s").output.split() == ["base", "one"]
        assert sandbox.run("git tag").output.split() == ["v1.0"]
        assert sandbox.run("cat heron.py").output.endswith("# base\n")
        assert not sandbox.run("git status --porcelain").output
        assert "the fix of 2f8c" not in sandbox.run(
            "git cat-file --batch-all-objects --batch --unordered").output
        assert not sandbox.run(
            "grep -rsl 'the fix of 2f8c' / --exclude-dir=proc --exclude-dir=sys").output


@pytest.mark.parametrize("leave, sign", [
    ("git remote add origin https://example.org/x.git", "a remote: origin"),
    ("git commit -q --allow-empty -m later && git tag later && git reset -q --hard HEAD~1",
     "refs/tags/later leads past it"),
    ("git commit -q --allow-empty -m later", "HEAD is not at"),
    ("echo x >> heron.py && git stash -q", "refs/stash leads past it"),
    ("git commit -q --allow-empty -m later && git reset -q --hard HEAD~1", "the reflog names"),
    ("git commit -q --allow-empty -m later && git reset -q --hard HEAD~1 && rm -rf .git/logs "
     ".git/ORIG_HEAD",
     "a commit that nothing leads to"),
    ("git commit -q --allow-empty -m later && git update-ref FETCH_HEAD HEAD; git reset -q --hard "
     "HEAD~1",
     "left over: .git/"),
    ("mkdir -p .git/objects/info && echo /elsewhere/objects > .git/objects/info/alternates",
     "objects are taken from elsewhere"),
    ("git clone -q . /opt/copy", "another repository: /opt/copy/.git"),
    ("git clone -q --bare . /opt/all.git", "another repository: /opt/all.git"),
    ("git clone -q --bare . /opt/.cache/all", "another repository: /opt/.cache/all"),
    ("git bundle create -q /opt/all.bundle HEAD", "a bundle of a repository: /opt/all.bundle"),
])
def test_what_an_install_leaves_of_a_history_is_found(source, leave, sign):
    with opener("") as sandbox:
        base, trouble = put_source(sandbox, Project(source))
        assert not trouble
        sandbox.run("git config user.name t && git config user.email t@example.org")
        assert sandbox.run(leave).ok
        assert any(line.startswith(sign) for line in history_after(sandbox, base))


def test_bare_repositories_of_dependencies_are_no_history(source):
    with opener("") as sandbox:
        base, _ = put_source(sandbox, Project(source))
        sandbox.run("git init -q --bare ~/.cargo/git/db/other && git init -q --bare tests/fixture")
        assert history_after(sandbox, base) == []


def test_a_submodules_files_are_part_of_the_source(source, tmp_path):
    (tmp_path / "egret").mkdir()
    (tmp_path / "egret" / "egret.py").write_text("x = 1\n")
    for folder in (tmp_path / "egret", source):
        commit_all(folder)
    git(source, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add",
        str(tmp_path / "egret"), "egret")
    git(source, "commit", "-qm", "two")
    for change in ("", "\nx = 2\n"):
        with open(source / "heron.py", "a") as file:
            file.write(change)
        with opener("") as sandbox:
            base, trouble = put_source(sandbox, Project(source))
            assert not trouble and history_after(sandbox, base) == []
            assert sandbox.run("git ls-files; git status --porcelain").output.split() == [
                ".gitmodules", "egret/egret.py", "heron.py", "tests/test_heron.py"]
    git(source, "submodule", "--quiet", "deinit", "--all", "--force")
    git(source, "checkout", "-q", "heron.py")
    with opener("") as sandbox:
        assert put_source(sandbox, Project(source)) == (git(source, "rev-parse", "HEAD"), "")


def test_what_a_worktree_ignores_is_no_part_of_the_source(source, tmp_path):
    (source / ".gitignore").write_text(".env\n")
    commit_all(source)
    git(source, "worktree", "add", "-q", str(tmp_path / "tree"))
    (tmp_path / "tree" / ".env").write_text("KEY=1\n")
    with opener("") as sandbox:
        assert put_source(sandbox, Project(tmp_path / "tree"))[1] == ""
        assert not sandbox.run("test -e .env").ok and sandbox.run("test -e heron.py").ok


def test_changes_that_were_not_committed_are_part_of_the_source(repository):
    source, _ = repository
    (source / "heron.py").write_text("changed = True\n")
    (source / "new.py").write_text("new = True\n")
    git(source, "rm", "-q", "--cached", "tests/test_heron.py")
    (source / "tests" / "test_heron.py").unlink()
    head = git(source, "rev-parse", "HEAD")
    with opener("") as sandbox:
        base, trouble = put_source(sandbox, Project(source))
        assert not trouble and base != head
        assert sandbox.run("cat heron.py new.py; ls tests").output.startswith(
            "changed = True\nnew = True\n")
        assert not sandbox.run("test -e tests/test_heron.py").ok
        assert history_after(sandbox, base) == []


def test_a_folder_without_a_history_gives_the_same_commit_every_time(source):
    (source / "sub").mkdir()
    git(source / "sub", "init", "-q")
    (source / ".gitignore").write_text("*.log\n")
    (source / "kept.log").write_text("a file that the folder has\n")
    found = set()
    for _ in range(2):
        with opener("") as sandbox:
            found.add(put_source(sandbox, Project(source)))
            assert sandbox.run("git ls-files kept.log").output.strip() == "kept.log"
            assert not sandbox.run("test -e sub/.git").ok
    assert len(found) == 1 and found.pop()[1] == ""


def test_a_commit_that_is_not_there_is_trouble_with_the_source(repository):
    source, _ = repository
    found = check(source, project=Project(source, "0" * 40))
    assert (found.failed, found.cause.name) == ("source", "source")
    assert "is not in the source" in found.cause.evidence


def test_the_images_own_source_is_taken_where_no_folder_is_given(source, image_name):
    with opener("") as sandbox:
        put_source(sandbox, Project(source))
        sandbox.commit(image_name)
    verifier = Verifier(lambda image: opener(image or image_name), Project(modules=("heron",)),
                        LIMITS)
    found = verifier.verify(NOTHING, TESTS)
    assert found.ok and found.healthy


LIARS = """for tool in find git python3 bash sh sed grep ls; do
    [ ! -e /usr/bin/$tool ] || mv /usr/bin/$tool /usr/bin/$tool.true
    printf '%s\\n' '#!/usr/bin/bash.true' \\
        'for word; do case $word in *_history.sh|*shadowed.py) exit 0;; esac; done' \\
        "exec -a $tool /usr/bin/$tool.true \\"\\$@\\"" > /tmp/liar
    chmod +x /tmp/liar; cp /tmp/liar /usr/bin/$tool
done
rm /tmp/liar"""
LATER = "git -c user.name=a -c user.email=a@b.c commit -q --allow-empty -m later"


@pytest.mark.parametrize("hide, sign", [
    ("git clone -q --bare . /opt/all.git", "another repository: /opt/all.git"),
    (f"{LATER}; git reset -q --hard HEAD~1; rm -rf .git/logs .git/ORIG_HEAD",
     "a commit that nothing leads to"),
    (f"{LATER}; git bundle create -q /opt/notes.txt HEAD; git reset -q --hard HEAD~1; rm -rf "
     ".git/logs .git/ORIG_HEAD; "
     "git -c gc.reflogExpire=now gc -q --prune=now", "a bundle of a repository: /opt/notes.txt"),
    ("cp heron.py /usr/lib/python3/dist-packages/",
     "a copy of the project itself: /usr/lib/python3/dist-packages/")
], ids=["bare clone", "dangling commit", "bundle", "copy"])
def test_an_image_whose_tools_lie_is_seen_through(source, image_name, hide, sign):
    """Take a script that prints TAP as a suite; the install replaces the tools that look by liars.
    """
    found = check(source, install=f"{hide}\n{LIARS}\n", test="echo 1..1; echo ok 1 - wades",
                  image_name=image_name)
    assert found.failed == ("shadow" if "copy" in sign else "history")
    assert found.cause.evidence.startswith(sign)


@pytest.mark.parametrize("make, cause", [
    ("head -c 45000000 /dev/zero > $R/a.xml; for i in $(seq 40); do ln $R/a.xml $R/$i.xml; done",
     "results_too_large"),
    ("cd $R; seq 20000 | xargs touch", "results_too_many"),
    ("python3 -c 'import os; os.chdir(\"'$R'\")\n"
     "for i in range(2500): os.mkdir(\"d\"); os.chdir(\"d\")'", "results_too_deep")])
def test_reports_that_are_too_much_are_named_in_what_was_found(source, make, cause):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = check(source,
                  test=f"R={RESULTS}; mkdir -p $R; ({make}); echo '1..1'; echo 'ok 1 - wades'",
                  only_healthy=True)
    assert (found.failed, found.cause.name) == ("tests", cause) and not found.healthy
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000   # kB
