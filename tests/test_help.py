"""Check --help, which is one screen, --help-all, and what a script does without an engine."""
import re

import pytest
from conftest import REPO, run_script

from codedata.__main__ import find_programs, list_words
from codedata.run import cli

CALLS = ["audit.py try", "bug_inject.py agent", "bug_inject.py scale", "build_dp.py agents",
         "build_dp.py validate", "check_judges.py probe", "check_judges.py sanity",
         *sorted(path.name for path in REPO.glob("*.py"))]


def flags_in(page: str) -> set[str]:
    """Return the flags that a help explains."""
    return {*re.findall(r"(?m)(?:^  |, )(--[\w-]+)", page)}


@pytest.mark.parametrize("call", CALLS)
def test_help_is_a_screen_with_the_scripts_flags_and_help_all_has_all_that_do_something(
        call, tmp_path):
    script, *words = call.split()
    short, whole = (run_script(script, tmp_path, *words, flag, env={"COLUMNS": "100"}).stdout
                    for flag in ("--help", "--help-all"))
    assert short.count("\n") <= 40
    assert "--root" in short and short.endswith(" …): --help-all\n")
    text = (REPO / script).read_text()
    assert ({*re.findall(r'\badd(?:_argument)?\(\s*"(--[\w-]+)"', text)}
            <= flags_in(short.rpartition("\n\n")[0]) <= flags_in(whole))
    every = {action.option_strings[-1] for action in cli.parser("")._actions}
    assert (every <= flags_in(whole)) != ("cli.OF_" in text)
    assert "  --root, --output-root" in whole


@pytest.mark.parametrize("call", CALLS)
def test_no_engine_is_asked_for_help_settings_status_or_a_wrong_flag(tmp_path, call):
    script, *words = call.split()
    for flag in ("--help", "--status", "--dry-run", "--show-config", "--no-such-flag"):
        done = run_script(script, tmp_path, *words, flag, env={"DOCKER_HOST": "unix:///nowhere"})
        assert "cannot be reached" not in done.stderr and done.returncode in (0, 2), done.stderr


def test_a_word_that_codedata_lacks_is_named_with_the_nearest_after_all_of_them(capsys):
    assert list_words(find_programs(), "statsu") == 2
    assert "statsu is none of them. Did you mean status?" in capsys.readouterr().err
    list_words(find_programs(), "foo")
    assert "foo is none of them. Known: " in capsys.readouterr().err
