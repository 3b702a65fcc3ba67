"""Check scripts in steps, the flags that scripts share, and items that threads or views make."""
import os
import re
from functools import partial

import pytest
from conftest import flags_for, ledger_lines, run_here
from fake_llm import Status

from codedata import config
from codedata.disk.locks import lock
from codedata.disk.store import Lists, Store
from codedata.llm import Models
from codedata.records import Answer, Prompt, variant
from codedata.run import cli, start
from codedata.run.stage import Reads, Stage, Writes

STEPS = {"draw": "informed", "mend": "chosen", "keep": "placebo"}


def steps_main(argv) -> int:
    """Run a script in steps, made.py; each step asks once for an item."""
    parser = cli.parser("made.py")
    parser.add_argument("word", nargs="?", choices=["this", "that"])
    cli.steps_flag(parser, STEPS)
    args = parser.parse_args(argv)
    settings, options = cli.read(args)
    kinds = {step: variant(Answer, how) for step, how in STEPS.items()}

    def stage(step: str, models: Models) -> Stage:
        king = models.client("king")

        def make(prompt: Prompt) -> Answer:
            return Answer(prompt.instance_id, prompt.messages, "", king.ask(
                [{"role": "user", "content": f"{step} {prompt.order}"}]).text)
        return Stage(
            f"made.{step}", make=make, reads=Reads(Lists(settings.root, Prompt), ("messages",)),
            writes=Writes(Store(settings.root, kinds[step]), fields=("king",)), then="next.py")

    return start.run_steps({step: partial(stage, step) for step in STEPS}, settings, options,
                           kinds, args.steps)


@pytest.fixture
def made(tmp_path, fake_llm, capsys):
    """Return a function: run made.py with flags; it returns (exit code, what was printed)."""
    tmp_path.with_prompts(2).with_settings()

    def run(*flags) -> tuple[int, str]:
        code = run_here(steps_main, tmp_path, *flags_for(
            fake_llm, "--llm-auth-token", "sk-hidden", "--workers", 1, *flags))
        return code, capsys.readouterr().err
    return run


def test_each_step_has_a_plan_a_summary_and_a_key_in_its_ledger(tmp_path, fake_llm, made):
    code, printed = made()
    assert code == 0 and fake_llm.n_requests == 6
    for step, how in STEPS.items():
        assert {line["stage"] for line in ledger_lines(tmp_path / "variants" / how)} == {
            f"made.{step}"}
        assert f"made {step}  prompt/ 2 → variants/{how}/   missing 2" in printed
        assert f"made {step}  wrote 2" in printed
    assert printed.count("next: ") == 1   # behind the last one
    assert made("--steps", "all")[0] == 0 and fake_llm.n_requests == 6


def test_steps_run_in_their_order_and_the_worst_exit_code_counts(fake_llm, made):
    fake_llm.script(Status(400))
    code, printed = made("--steps", "mend,draw", "that")
    assert code == 1 and [r.last[:4] for r in fake_llm.requests] == ["draw"] * 2 + ["mend"] * 2
    assert re.search(r"again: .*made.py that --root \S+ .*--steps draw,mend\n", printed)
    code, printed = made("--steps", "mnd")
    assert code == 2 and "mnd is not one of draw, mend, keep, all" in printed


def test_a_step_that_is_stopped_ends_the_run_and_the_command_goes_on_from_it(fake_llm, made):
    fake_llm.script("a", "b", Status(401))
    code, printed = made("this")
    assert code == 2 and fake_llm.n_requests == 3
    assert re.search(r"again: \S+ made.py this --root \S+ .* --steps mend,keep\n", printed)
    _, printed = made("this", "--limit", 1, "--only", "*_1*", "--steps", "draw", "--force")
    again = printed.partition("more item")[2]
    assert "--only '*_1*'" in again and "--force" not in again and "sk-hidden" not in printed


def test_chosen_steps_hold_what_they_write_and_nothing_else(tmp_path, fake_llm, made):
    of_others, left = (tmp_path / f"variants/informed/{place}/_tmp.1" for place in ("_held", "_a"))
    left.parent.mkdir(parents=True)
    left.touch()
    with lock(of_others.parent, None, "x"), lock(tmp_path / "variants/placebo", None, "another"):
        of_others.touch()
        code, printed = made("--steps", "draw,keep")
        assert code == 2 and "is in use by another" in printed and fake_llm.n_requests == 0
        assert made("--steps", "draw")[0] == 0
    assert of_others.exists() and not left.exists()


def test_containers_keep_more_workers_busy_unless_their_number_is_set(tmp_path):
    def n_workers(**llm) -> int:
        tmp_path.with_settings(llm, "[sandbox]\ncpu_request = 0.25\n")
        return cli.with_container_workers(config.load(cli.parser("x").parse_args([]))).llm.workers
    assert n_workers() == 4 * os.cpu_count() and n_workers(workers=99) == 99
