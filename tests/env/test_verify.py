"""Check that what is verified works from nothing, offline, without a look at the future."""
import resource
from pathlib import Path

import pytest
from heron_environment import an_environment
from heron_project import RUN, add_test, commit_all, git, opener
from projects import make_lean
from steps_seen import StepsSeen

from codedata.env.planner import plan_as
from codedata.env.verify_scripts import Verifier
from codedata.records import Environment
from codedata.run.talk import showing
from codedata.sandbox import open_sandbox
from codedata.suites.project_suite import RESULTS
from codedata.suites.source import Project, put_source

pytestmark = pytest.mark.docker
NOTHING = "#!/usr/bin/env bash\n"
TESTS = (f"mkdir -p {RESULTS} && python3 -m pytest -p no:cacheprovider -o junit_family=xunit1 "
         f"--junitxml={RESULTS}/r.xml")
# what tests commit is no history that the environment has
COMMITS = (f"{TESTS}; code=$?; git -c user.name=a -c user.email=a@b.c commit -q --allow-empty "
           "-m more; exit $code")
LIMIT_S = 60


def check(source: Path, install: str = NOTHING, test: str = TESTS, **how):
    project = how.pop("project", Project(source, distribution="heron", modules=("heron",)))
    limit_s, image_name = how.pop("limit_s", LIMIT_S), how.pop("image_name", "")
    return Verifier(opener, project, limit_s, image_name).verify(install, test, **how)


def test_what_works_is_verified_case_by_case(source):
    add_test(source, "def test_it_fails():\n    assert heron.wade() == 'fast'")
    step = StepsSeen()
    with showing(step):
        found = check(source)
    assert [*dict.fromkeys(step.seen)] == [
        "", "1/6 install", "2/6 tests", "3/6 tests again", "4/6 tests a third time",
        "5/6 tests without network", "6/6 tests of a broken source"]
    assert found.ok and not found.healthy and (found.n_passed, found.n_cases) == (1, 2)
    assert found.results == [{"name": "tests/test_heron.py::test_it_fails", "status": "failed"},
                             {"name": "tests/test_heron.py::test_wade", "status": "passed"}]
    assert (found.cause.name, found.cause.evidence) == ("tests_fail",
                                                        "tests/test_heron.py::test_it_fails")
    assert len(found.test_s) == 4


def test_nothing_of_a_script_is_left_in_the_shell_for_the_next_nor_what_tests_commit(source):
    """Run it also in a sandbox that keeps directory and environment between commands."""
    def keeping(image: str):
        return open_sandbox("docker", image=image or make_lean(), workdir="/testbed",
                            run_label=RUN)
    project = Project(source, distribution="heron", modules=("heron",))
    found = Verifier(keeping, project, LIMIT_S).verify(
        "cd /; export PYTEST_ADDOPTS=--nonsense; set -eu\n", COMMITS)
    assert found.ok and found.healthy, found.cause


def test_time_is_limited_and_the_cause_says_so(source):
    assert check(source, install="sleep 60", limit_s=2).cause.name == "time_limit"
    found = check(source, test=f"{TESTS}; sleep 60", limit_s=4, only_healthy=True)
    assert found.timed_out and not found.healthy


def test_the_image_holds_the_install_and_passes_offline(source, image_name):
    add_test(source,
             "def test_installed():\n    assert open('/opt/made').read() == 'by install\\n'")
    found = check(source, install="echo 'by install' > /opt/made", test=COMMITS,
                  image_name=image_name)
    assert found.ok and found.healthy and found.image_id.startswith("sha256:")
    with opener(image_name) as sandbox:
        assert sandbox.run("cat /opt/made").output == "by install\n"
        assert sandbox.run(f"[ ! -e {RESULTS} ] && [ ! -e /tmp/codedata ]").ok
        assert sandbox.run("git rev-parse HEAD").output.strip() == found.base_commit


def test_the_next_commit_is_tested_in_an_installed_image_and_not_taken_if_it_is_worse(
        source, image_name):
    """Keep what the install made, and nothing that the commit has removed."""
    (source / "old.py").write_text("")
    add_test(source, "def test_installed():\n    assert open('made.txt').read() == 'by install\\n'")
    commit_all(source)
    known = check(source, install="echo 'by install' > made.txt", image_name=image_name)

    def next_commit(test: str):
        (source / "old.py").unlink(missing_ok=True)
        add_test(source, test)
        git(source, "commit", "-qam", "more")
        project = Project(source, git(source, "rev-parse", "HEAD"), "heron", ("heron",))
        return Verifier(opener, project, LIMIT_S, image_name, image_name).verify_installed(
            TESTS, known)

    found = next_commit("def test_gone():\n    import os\n    assert not os.path.exists('old.py')")
    assert found.is_healthy and len(found.test_s) == 1 and found.n_passed == 3
    with opener(image_name) as sandbox:   # files next to the source are not searched again
        assert sandbox.run("git bundle create /opt/bundle HEAD").ok
        sandbox.commit(image_name)
    assert next_commit("def test_four():\n    pass").is_healthy
    many = "@__import__('pytest').mark.parametrize('n', range(40))\ndef test_n(n):\n    assert n"
    assert next_commit(many) is None   # 97 % pass, but one that is new does not


def test_what_a_neighbour_s_image_lacked_is_verified_by_more_than_one_run(source, image_name):
    known = check(source, image_name=image_name)
    add_test(source, "def test_made():\n    assert open('/opt/made')")
    commit_all(source)
    neighbour = Environment(**an_environment(
        image_name=image_name, install_script="touch /opt/made", test_script=TESTS,
        test_case_result=known.results))
    project = Project(source, git(source, "rev-parse", "HEAD"), "heron", ("heron",))
    verifier = Verifier(opener, project, LIMIT_S, image_name)
    found = plan_as(verifier, neighbour, is_like=True, is_installed=True).verified
    assert found.is_healthy and len(found.test_s) == 4


WEAKER = "sed -i 's/slowly/fast/' tests/test_heron.py"


def test_what_an_install_changes_of_the_source_is_put_back_before_the_tests(source, image_name):
    """Name also a change that the test script takes back."""
    (source / "heron.py").write_text("def wade():\n    return 'fast'\n")
    (source / "run.sh").write_text("exit 0\n")
    found = check(source, test=f"{WEAKER}; {TESTS}; code=$?; git checkout -q tests; exit $code",
                  install="rm heron.py\ntouch made.py\ngit add made.py\nchmod +x run.sh\n",
                  image_name=image_name)
    assert found.ok
    assert found.restored == ["heron.py"]
    assert found.changed_by_tests == ["tests/test_heron.py"]
    with opener(image_name) as sandbox:
        shown = sandbox.run("git diff HEAD --stat -- '*.py'; git status --porcelain")
        assert shown.output == " M run.sh\n?? made.py\n"
        assert sandbox.run("[ -x run.sh ]").ok


HIDE = """git update-index --assume-unchanged tests/test_heron.py
git update-index --skip-worktree tests/test_heron.py
git config --global core.ignoreStat true
echo 'tests/*' >> .git/info/exclude
echo '*.py filter=k' > .git/info/attributes
git config filter.k.clean 'git show HEAD:tests/test_heron.py'
mkdir /opt/p && cp -r heron.py tests /opt/p && git config core.worktree /opt/p
"""


def test_settings_of_git_hide_no_change(source):
    """Set all of them: each one would hide it."""
    (source / "heron.py").write_text("def wade():\n    return 'fast'\n")
    found = check(source, install=f"{HIDE}{WEAKER}\n")
    assert found.failed == "tests" and found.restored == ["tests/test_heron.py"]


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
                        LIMIT_S)
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
    (f"{LATER}; git bundle create -q /opt/notes.txt HEAD; git reset -q --hard HEAD~1; rm -rf "
     ".git/logs .git/ORIG_HEAD; "
     "git -c gc.reflogExpire=now gc -q --prune=now", "a bundle of a repository: /opt/notes.txt"),
    ("cp heron.py /usr/lib/python3/dist-packages/",
     "a copy of the project itself: /usr/lib/python3/dist-packages/")
], ids=["bundle", "copy"])
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
