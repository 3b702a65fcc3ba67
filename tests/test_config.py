"""Check which settings win, where files are looked for, what is refused, and chain.toml."""
import os
import re
from pathlib import Path

import pytest
from conftest import KEY, REPO, run_script
from line_tables import rows
from root import write_files

from codedata import config
from codedata.run import cli
from codedata.settings import ApiKey, Endpoint, Settings
from codedata.texts import tomllib

DEFAULTS = {name: vars(getattr(Settings(), name)) for name in config.SECTIONS}


def load(*flags) -> Settings:
    return config.load(cli.parser("a script").parse_args(flags))


def toml(text: str) -> None:
    write_files(Path(), {"chain.toml": text})


def lines_of(text: str) -> str:
    """Return settings written in one line as their file has them."""
    return re.sub(r"^(\[.*?\]+) ", r"\1\n", text).replace("; ", "\n") + "\n"


def shown(root, call: str = "king", **env: str) -> str:
    """Return what a script prints with --show-config; it has no key."""
    script, *flags = call.split()
    done = run_script(f"{script}.py", root, *flags, "--show-config", env=env)
    assert done.returncode == 0 and KEY not in done.stdout + done.stderr
    return done.stdout.replace(f"{root}/", "")


# flag > environment > .env > chain.toml > default ------------------------------------------------

@pytest.mark.parametrize("files, env, call, line", rows(
    Path(__file__).with_name("setting_origins.txt").read_text()))
def test_a_setting_is_from_the_first_place_that_has_it_and_tokens_go_to_no_address_of_a_root(
        tmp_path, files, env, call, line):
    for place, _, text in (one.partition(" ") for one in files.split(" & ") if one):
        write_files(tmp_path, {place: lines_of(text)})
    variables = dict(one.split("=") for one in env.split())
    assert line in shown(tmp_path, call, **variables).splitlines()


@pytest.mark.parametrize("key, value, in_llm", rows("""
temperature       | 0.0 | 0.7
max_tokens        | 11  | 22
max_prompt_tokens | 0   | 99
model             | 'm' | 'n'
"""))
def test_a_role_has_its_own_settings_also_where_they_are_zero(key, value, in_llm):
    toml(f"[llm]\n{key} = {in_llm}\n[king]\n{key} = {value}\n")
    found = [getattr(load().model_spec(role), key) for role in ("king", "challenger")]
    assert [*map(repr, found)] == [value, in_llm]


URL = '[llm]; base_url = "http://foe"'
PAIR = '[llm]; endpoint = "x"; [endpoints.x]; base_url = "http://foe"; api_key_env = "MY_KEY"'
BOTH = f'{PAIR}; [endpoints.y]; base_url = "http://y"; api_key_env = "KEY_OF_Y"'


# a file and what it has | variables that are set | flags | the variable whose value is sent, which
# tells who is asked
@pytest.mark.parametrize("file, text, env, flags, sent", rows("""
root/chain.toml | URL  | QIANFAN_BEARER_TOKEN OPENAI_API_KEY | |
root/chain.toml | PAIR | MY_KEY | |
root/chain.toml | PAIR | MY_KEY | --config root/chain.toml | MY_KEY
chain.toml      | PAIR | MY_KEY | | MY_KEY
chain.toml      | URL  | QIANFAN_BEARER_TOKEN OPENAI_API_KEY | | QIANFAN_BEARER_TOKEN
root/chain.toml | PAIR | MY_KEY LLM_BASE_URL=http://foe | --llm x |
root/chain.toml | OURS | LLM_BASE_URL=http://foe QIANFAN_BEARER_TOKEN | --llm x|QIANFAN_BEARER_TOKEN
root/chain.toml | [llm]; proxy = "http://foe" | CHUTES_API_KEY | |
root/chain.toml | [endpoints.chutes]; api_key_env = "MY_KEY" | MY_KEY | |
root/chain.toml | [endpoints.chutes]; max_concurrency = 3 | CHUTES_API_KEY | | CHUTES_API_KEY
root/chain.toml | [llm]; base_url = "https://api.openai.com/v1" | OPENAI_API_KEY | | OPENAI_API_KEY
root/.env       | LLM_BASE_URL=http://foe | QIANFAN_BEARER_TOKEN | |
root/.env       | CHUTES_BASE_URL=http://foe | CHUTES_API_KEY | |
root/.env       | OPENAI_BASE_URL=http://foe | QIANFAN_BEARER_TOKEN OPENAI_API_KEY | |
root/.env       | MY_KEY=MY_KEY; LLM_BASE_URL=http://x; QIANFAN_BEARER_TOKEN=MY_KEY | | | MY_KEY
.env            | | QIANFAN_BEARER_TOKEN OPENAI_API_KEY OPENAI_BASE_URL=http://x | | OPENAI_API_KEY
.env            | | QIANFAN_BEARER_TOKEN OPENAI_BASE_URL=http://x | |
.env            | | CHUTES_API_KEY OPENAI_API_KEY OPENAI_BASE_URL=http://x | | CHUTES_API_KEY
.env            | | OPENAI_API_KEY | --llm-base-url https://api.openai.com/v1 | OPENAI_API_KEY
.env            | | OPENAI_API_KEY | --llm-base-url https://eu.api.openai.com | OPENAI_API_KEY
.env            | | OPENAI_API_KEY | --llm-base-url http://api.openai.com/v1 |
.env            | | OPENAI_API_KEY | --llm-base-url https://api.openai.com.stranger.io/v1 |
.env            | | OPENAI_API_KEY | --llm-base-url https://stranger.io/v1 |
.env            | | OPENAI_API_KEY OPENAI_BASE_URL=http://x | --llm embedded |
.env            | | CHUTES_API_KEY | --llm-base-url http://x |
.env            | | CHUTES_API_KEY QIANFAN_BEARER_TOKEN | | CHUTES_API_KEY
.env            | CHUTES_API_KEY=it | | | it
.env            | QIANFAN_BEARER_TOKEN=it | CHUTES_API_KEY | --llm-base-url http://x | it
.env            | QIANFAN_BEARER_TOKEN=it | QIANFAN_BEARER_TOKEN=a | --llm-base-url http://x | a
.env            | | QIANFAN_BEARER_TOKEN | --llm-base-url http://x --llm-auth-token it | it
root/chain.toml | URL | | --llm-base-url http://x --llm-auth-token it | it
root/chain.toml | [llm]; ca_bundle = "foe" | | --llm-base-url http://x --llm-auth-token it |
chain.toml      | BOTH | MY_KEY KEY_OF_Y | | MY_KEY
chain.toml      | BOTH | MY_KEY KEY_OF_Y LLM_BASE_URL=http://x | --llm y | KEY_OF_Y
chain.toml      | BOTH | MY_KEY QIANFAN_BEARER_TOKEN=it LLM_BASE_URL=http://x | | it
chain.toml      | BOTH | MY_KEY QIANFAN_BEARER_TOKEN=it | --llm-base-url http://x | it
chain.toml      | [king]; endpoint = "chutes" | CHUTES_API_KEY | --llm-base-url http://x |
"""))
def test_a_key_goes_only_where_it_belongs(monkeypatch, file, text, env, flags, sent):
    named = {"URL": URL, "PAIR": PAIR, "BOTH": BOTH,
             "OURS": PAIR.replace("MY_KEY", "QIANFAN_BEARER_TOKEN")}
    write_files(Path(), {"root/nothing": "", file: lines_of(named.get(text, text))})
    for name, _, value in (one.partition("=") for one in env.split()):
        monkeypatch.setenv(name, value or name)
    before = {**os.environ}
    key = load("--root", "root", *flags.split()).model_spec("king").endpoint.api_key
    assert key == sent and bool(key.withheld) == (not sent and "root" in file)
    assert os.environ == before


# what is refused ---------------------------------------------------------------------------------

# settings | what is said
@pytest.mark.parametrize("text, says", rows("""
[lmm] workers = 3 | chain.toml lmm mean llm?
worker = 3 | chain.toml worker
[llm] worker = 3 | chain.toml worker [llm] mean workers?
[king] temprature = 1.0 | chain.toml temprature [king] mean temperature?
[prompt] counts = 1 | chain.toml counts [prompt] mean count?
[exclude] id = [] | chain.toml id [exclude] mean ids?
[endpoints.x] base_ulr = "http://x" | chain.toml base_ulr [endpoints.x] mean base_url?
[endpoints.x] api_key = "sk" | chain.toml api_key [endpoints.x] mean api_key_env?
[prices] "m" = { in = 1.0, oot = 1.0 } | chain.toml oot 'm' mean out?
[judge] model = "m" | chain.toml model [judge]
[king] endpoint = "chute" | chute mean [endpoints.chutes]?
[endpoints] both = { endpoints = ["both"] }; [king]; endpoint = "both" | [endpoints.both]
[endpoints] both = { endpoints = ["nobody"] }; [king]; endpoint = "both" | 'nobody'
[dp] queue = "postgresql://foe/x" | chain.toml queue database --queue
# a wrong type
[llm] workers = "3" | chain.toml workers
[llm] workers = 3.0 | chain.toml workers
[llm] workers = true | chain.toml workers
[llm] temperature = "hot" | chain.toml temperature
[king] extra_body = "low" | chain.toml extra_body
[llm] model = 3 | chain.toml model
[exclude] ids = "a" | chain.toml ids
[exclude] ids = [1] | chain.toml ids
[prompt] keep_unmatched = 1 | chain.toml keep_unmatched
[king] max_tokens = [] | chain.toml max_tokens
llm = 3 | chain.toml llm
king = "x" | chain.toml king
[[llm]] workers = 3 | chain.toml llm
prices = 3 | chain.toml prices
[prices] "m" = 3 | chain.toml m
[prices] "m" = { in = "1", out = 1 } | chain.toml m
[prices] "m" = { in = 1 } | chain.toml m
[prices] "m" = { in = true, out = 1.0 } | chain.toml 'm' in
# with nan as a price no budget would ever be used up
[prices] "m" = { in = nan, out = 1.0 } | chain.toml 'm' in
[prices] "m" = { in = inf, out = 1.0 } | chain.toml 'm' in
[prices] "m" = { in = -1.0, out = 1.0 } | chain.toml 'm' in
endpoints = 3 | chain.toml endpoints
[endpoints] mine = "http://x" | chain.toml mine
[endpoints] mine = 3 | chain.toml mine
[endpoints.x] base_url = 3 | chain.toml base_url
[endpoints.x] max_concurrency = "4" | chain.toml max_concurrency
[endpoints.x] headers = "X" | chain.toml headers
[endpoints.x] headers = { X = 1 } | chain.toml headers
[llm | chain.toml
[llm] workers = 3; workers = 4 | chain.toml
[llm] model = "\udcff" | chain.toml
# values with which a run would end with nothing done and exit code 0, or with a traceback
[llm] workers = 0 | workers
[llm] workers = -1 | workers
[llm] max_tokens = 0 | max_tokens
[llm] retry_max = -1 | retry_max
[llm] call_timeout_s = 0.0 | call_timeout_s
[llm] call_timeout_s = nan | call_timeout_s
[llm] max_prompt_tokens = -5 | max_prompt_tokens
[llm] temperature = inf | temperature
[llm] ca_bundle = "no_ca_bundle.pem" | ca_bundle
[king] extra_body = { stream = true } | extra_body
"""))
def test_what_no_run_can_use_is_refused_and_an_unknown_name_with_the_nearest(
        tmp_path, fake_llm, text, says):
    toml(lines_of(text))
    tmp_path.with_prompts(1)
    done = run_script("king.py", tmp_path, env={"LLM_BASE_URL": fake_llm.base_url})
    assert done.returncode == 2 and fake_llm.n_requests == 0
    assert all(word in done.stderr for word in says.split())


# --show-config -----------------------------------------------------------------------------------

def test_show_config_has_every_setting_and_tells_whether_keys_are_set(tmp_path):
    toml('[endpoints.mine]\nbase_url = "http://x"\napi_key_env = "MINE"\n')
    env = dict.fromkeys(["CHUTES_API_KEY", "HF_TOKEN", "GITHUB_TOKEN", "QIANFAN_BEARER_TOKEN",
                         "MINE"], KEY)
    lines = {*shown(tmp_path).splitlines()}
    with_keys = {*shown(tmp_path, **env).splitlines()} - lines
    assert {line.partition(" = ")[0] for line in with_keys} == {
        "endpoints.chutes", "endpoints.mine", "HF_TOKEN", "GITHUB_TOKEN"}
    names = {line.partition(" = ")[0] for line in lines}
    assert {f"{name}.{key}" for name, keys in DEFAULTS.items() for key in keys} <= names


def test_a_secret_does_not_print_itself():
    secret = ApiKey(KEY)
    endpoint = Endpoint("x", api_key=secret)
    assert KEY not in repr(Settings(endpoints={"x": endpoint}, hf_token=secret))


# chain.toml itself -------------------------------------------------------------------------------

def flat(sections: dict[str, dict]) -> set[str]:
    """Return every section and setting as a line, with its value and so its type."""
    return {f"[{name}] {key} = {[*value] if isinstance(value, tuple) else value!r}"
            for name, keys in sections.items() for key, value in {"": "", **keys}.items()}


def commented(text: str) -> set[str]:
    """Return the settings in lines `# key = value`, None for no value.

    A section that is a comment is an example.
    """
    text = re.sub(r"^# \[.*\n(?:[^\[].*\n|\n)*", "", text, flags=re.MULTILINE)
    text = re.sub(r"^# (\w+) = *(#.*)?$", r"\1 = 'None'", text, flags=re.MULTILINE)
    # TOML refuses what stands twice
    found = tomllib.loads(re.sub(r"^# (?=\w+ =)", "", text, flags=re.MULTILINE))
    del found["prices"]
    return {line.replace("'None'", "None") for line in flat(found)}


CHAIN_TOML = (REPO / "chain.toml").read_text()


def test_every_default_stands_commented_in_chain_toml_with_the_same_value():
    assert commented(CHAIN_TOML) ^ flat(DEFAULTS) == set()


def test_chain_toml_as_it_ships_changes_nothing_and_its_example_can_be_used():
    without = load()
    toml(CHAIN_TOML)
    assert load() == without
    example = CHAIN_TOML[CHAIN_TOML.index("# [endpoints."):].splitlines()
    toml("\n".join(line[2:] for line in example))
    assert set(load().endpoints) > set(config.BUILT_IN_ENDPOINTS)
