"""Check which settings win, where files are looked for, what is refused, and chain.toml."""
import os
import re
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from conftest import KEY, REPO, run_script
from line_tables import rows

from codedata import config
from codedata.errors import Trouble
from codedata.run import cli
from codedata.settings import ApiKey, Endpoint, Settings
from codedata.texts import tomllib


def load(*flags, section="", flags_of_its=()) -> Settings:
    parser = cli.parser("a script", *section.split())
    for name, kind in flags_of_its:
        parser.add_argument(name, type=kind)
    return config.load(parser.parse_args([str(flag) for flag in flags]))


def endpoint(*flags) -> Endpoint:
    """Return the endpoint that the king asks."""
    return load(*flags).model_spec("king").endpoint


def toml(text: str, folder: Path = Path(), name: str = "chain.toml") -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8", errors="surrogatepass")


def dotenv(text: str, folder: Path = Path()) -> None:
    toml(text, folder, ".env")


# flag > environment > .env > chain.toml > default ------------------------------------------------

@pytest.mark.parametrize("name, env, flag", [("base_url", "LLM_BASE_URL", None),
                                             ("proxy", "PIPELINE_PROXY", "--proxy"),
                                             ("ca_bundle", "REQUESTS_CA_BUNDLE", None)])
def test_flag_over_environment_over_dotenv_over_file_over_default(name, env, flag, monkeypatch):
    def value(*flags):
        return getattr(load(*flags).llm, name)
    assert value() == ""
    toml(f'[llm]\n{name} = "http://file"\n')
    assert value() == "http://file"
    dotenv(f"{env}=http://dotenv\n")
    assert value() == "http://dotenv"
    monkeypatch.setenv(env, "http://environment")
    assert value() == "http://environment"
    assert flag is None or value(flag, "http://flag") == "http://flag"
    monkeypatch.setenv(env, "")   # as if it were not set
    assert value() == "http://dotenv"


def test_a_scripts_own_flag_is_over_its_section():
    flags = [("--count", int), ("--turns", str)]
    assert load(section="prompt", flags_of_its=flags).prompt.count == 2000
    toml('[prompt]\ncount = 30\nturns = "last"\n')
    settings = load("--count", 40, section="prompt", flags_of_its=flags).prompt
    assert (settings.count, settings.turns) == (40, "last")


def test_the_model_flag_is_over_the_roles_sections():
    toml('[king]\nmodel = "own"\n')
    settings = load("--model", "flag")
    assert settings.model_spec("king").model == settings.model_spec("challenger").model == "flag"


@pytest.mark.parametrize("key, value, in_llm", [("temperature", 0.0, 0.7), ("max_tokens", 11, 22),
                                                ("max_prompt_tokens", 0, 99), ("model", "m", "n")])
def test_a_role_has_its_own_settings_also_where_they_are_zero(key, value, in_llm):
    toml(f"[llm]\n{key} = {in_llm!r}\n[king]\n{key} = {value!r}\n")
    assert getattr(load().model_spec("king"), key) == value
    assert getattr(load().model_spec("challenger"), key) == in_llm


def test_the_default_endpoint_and_its_key_come_from_the_environment(monkeypatch):
    def found():
        return endpoint().base_url, endpoint().api_key
    assert found() == ("https://llm.chutes.ai/v1", "")
    dotenv("CHUTES_API_KEY=from-file\nCHUTES_BASE_URL=http://from.file/v1/\n")
    assert found() == ("http://from.file/v1", "from-file") and "CHUTES_API_KEY" not in os.environ
    monkeypatch.setenv("CHUTES_API_KEY", "from-env")
    monkeypatch.setenv("CHUTES_BASE_URL", "http://from.env/v1")
    assert found() == ("http://from.env/v1", "from-env")


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
    toml("", Path("root"), "nothing")
    Path(file).write_text(named.get(text, text).replace("; ", "\n"))
    for name, _, value in (one.partition("=") for one in env.split()):
        monkeypatch.setenv(name, value or name)
    key = endpoint("--root", "root", *flags.split()).api_key
    assert key == sent and bool(key.withheld) == (not sent and "root" in file)


@pytest.mark.parametrize(("variable", "setting", "field"), [
    ("HF_TOKEN", "[prompt]\nhub_url", "hf_token"),
    ("GITHUB_TOKEN", "[pr_tasks]\ngithub_url", "github_token")])
def test_a_token_goes_to_no_address_of_a_root(variable, setting, field, tmp_path, monkeypatch):
    monkeypatch.setenv(variable, "key")
    toml(f'{setting} = "http://foe"\n', tmp_path / "root")
    assert [getattr(load(*flags), field) for flags in (["--root", "root"], [])] == ["", "key"]


# where files are looked for ----------------------------------------------------------------------


def test_files_of_root_before_those_of_the_current_folder_and_never_both(tmp_path, monkeypatch):
    root = tmp_path / "run"
    monkeypatch.setenv("HUGGINGFACE_API_KEY", "hf")
    toml("[llm]\nworkers = 3\nmax_tokens = 33\n")
    dotenv("LLM_BASE_URL=http://here\nPIPELINE_PROXY=http://proxy\n")
    root.mkdir()
    settings = load("--output-root", root)
    assert (settings.llm.workers, settings.llm.proxy) == (3, "http://proxy")
    assert settings.hf_token == "hf"
    toml("[llm]\nworkers = 4\n", root)
    dotenv("LLM_BASE_URL=http://root\n", root)
    llm = load("--output", root).llm
    assert (llm.workers, llm.max_tokens, llm.base_url, llm.proxy) == (4, 1024, "http://root", "")
    toml("[llm]\nworkers = 5\n[prompt]\ncount = 30\n", name="mine.toml")
    settings = load("--root", root, "--config", "mine.toml", section="prompt")
    assert (settings.prompt.count, settings.prompt.config) == (30, "default")   # of a data set
    assert settings.llm.workers == 5


# what is refused ---------------------------------------------------------------------------------

def lines_of(text: str) -> str:
    """Return a setting written in one line as chain.toml has it."""
    return re.sub(r"^(\[.*?\]+) ", r"\1\n", text).replace("; ", "\n") + "\n"


# settings | what is said | the nearest name
@pytest.mark.parametrize("text, says, nearest", rows("""
[lmm] workers = 3 | chain.toml lmm | llm
worker = 3 | chain.toml worker |
[llm] worker = 3 | chain.toml worker [llm] | workers
[king] temprature = 1.0 | chain.toml temprature [king] | temperature
[prompt] counts = 1 | chain.toml counts [prompt] | count
[exclude] id = [] | chain.toml id [exclude] | ids
[endpoints.x] base_ulr = "http://x" | chain.toml base_ulr [endpoints.x] | base_url
[endpoints.x] api_key = "sk" | chain.toml api_key [endpoints.x] | api_key_env
[prices] "m" = { in = 1.0, oot = 1.0 } | chain.toml oot 'm' | out
[judge] model = "m" | chain.toml model [judge] |
[llm] endpoint = "chute" | chute | [endpoints.chutes]
"""))
def test_an_unknown_name_is_refused_and_the_nearest_named(text, says, nearest):
    toml(lines_of(text))
    with pytest.raises(Trouble) as trouble:
        load().model_spec("king")
    assert all(word in str(trouble.value) for word in says.split())
    assert not nearest or trouble.value.todo == f"Did you mean {nearest}?"


@pytest.mark.parametrize("text", rows("""
[llm] workers = "3"
[llm] workers = 3.0
[llm] workers = true
[llm] temperature = "hot"
[king] extra_body = "low"
[llm] model = 3
[exclude] ids = "a"
[exclude] ids = [1]
[prompt] keep_unmatched = 1
[king] max_tokens = []
llm = 3
king = "x"
[[llm]] workers = 3
prices = 3
[prices] "m" = 3
[prices] "m" = { in = "1", out = 1 }
[prices] "m" = { in = 1 }
endpoints = 3
[endpoints] mine = "http://x"
[endpoints] mine = 3
[endpoints.x] base_url = 3
[endpoints.x] max_concurrency = "4"
[endpoints.x] headers = "X"
[endpoints.x] headers = { X = 1 }
[llm
[llm] workers = 3; workers = 4
[llm] model = "\ud800"
"""))
def test_a_wrong_type_is_refused_with_file_and_key(text):
    toml(lines_of(text))
    with pytest.raises(Trouble, match=r"chain\.toml"):
        load()


@pytest.mark.parametrize("text", rows("""
[llm] workers = 0
[llm] workers = -1
[llm] max_tokens = 0
[llm] retry_max = -1
[llm] call_timeout_s = 0.0
[llm] call_timeout_s = nan
[llm] max_prompt_tokens = -5
[llm] temperature = inf
[llm] worker = 3
[llm] ca_bundle = "no_ca_bundle.pem"
[king] extra_body = { stream = true }
"""))
def test_a_value_that_no_run_can_use_is_refused(tmp_path, run, fake_llm, text):
    """Otherwise a run ends with nothing done and exit code 0, or with a traceback."""
    toml(lines_of(text))
    tmp_path.with_prompts(1)
    done = run("king")
    assert done.returncode == 2 and fake_llm.n_requests == 0
    assert text.split()[1] in done.stderr


# --show-config -----------------------------------------------------------------------------------

def shown(capsys, *flags) -> dict[str, tuple[str, str]]:
    """Return {setting: (value, origin)} as --show-config prints them."""
    with pytest.raises(SystemExit) as end:
        load("--show-config", *flags)
    assert end.value.code == 0
    lines = (re.fullmatch(r"(\S+) = (.*?)(?:\s+# (.*))?", line)
             for line in capsys.readouterr().out.splitlines())
    return {line[1]: (line[2], line[3]) for line in lines}


def test_show_config_prints_every_setting_with_its_origin(capsys, monkeypatch):
    toml('[llm]\nmax_tokens = 77\nproxy = "http://file"\n[king]\nmodel = "own"\n'
         '[prices]\n"m" = { in = 1, out = 2 }\n')
    dotenv("LLM_BASE_URL=http://dotenv\n")
    monkeypatch.setenv("PIPELINE_PROXY", "http://environment")
    found = shown(capsys, "--workers", "7", "--model", "mine")
    assert found["llm.max_tokens"] == ("77", "chain.toml")
    assert found["llm.proxy"] == ("http://environment", "environment PIPELINE_PROXY")
    assert found["llm.base_url"] == ("http://dotenv", ".env LLM_BASE_URL")
    assert found["llm.workers"] == ("7", "flag --workers")
    assert found["llm.model"] == ("mine", "flag --model")
    assert shown(capsys, "--llm", "embedded")["llm.endpoint"] == ("embedded", "flag --llm")
    assert found["llm.retry_max"] == ("3", "default")
    assert found["prices.m"][1] == "chain.toml" and found["endpoints.chutes"][1] == "default"
    for name, cls in config.SECTIONS.items():
        for field in fields(cls) if cls else []:
            assert f"{name}.{field.name}" in found


def test_show_config_masks_keys_and_tells_whether_they_are_set(tmp_path):
    env = dict.fromkeys(["CHUTES_API_KEY", "HF_TOKEN", "GITHUB_TOKEN", "QIANFAN_BEARER_TOKEN",
                         "MINE"], KEY)
    toml('[endpoints.mine]\nbase_url = "http://x"\napi_key_env = "MINE"\n', tmp_path)
    with_keys = run_script("king.py", tmp_path, "--show-config", env=env)
    without = run_script("king.py", tmp_path, "--show-config")
    assert with_keys.returncode == without.returncode == 0
    assert KEY not in with_keys.stdout + with_keys.stderr

    def line(done, name):
        return next(line for line in done.stdout.splitlines() if line.startswith(name + " = "))
    for name in ("endpoints.chutes", "endpoints.mine", "HF_TOKEN", "GITHUB_TOKEN"):
        assert line(with_keys, name) != line(without, name)


def test_a_secret_does_not_print_itself():
    secret = ApiKey(KEY)
    endpoint = Endpoint("x", api_key=secret)
    settings = Settings(endpoints={"x": endpoint}, hf_token=secret)
    assert KEY not in repr(secret) + repr(endpoint) + repr(settings) + repr(
        [secret]) + f"{settings}"


# chain.toml itself -------------------------------------------------------------------------------

def flat(sections: dict[str, dict]) -> set[str]:
    """Return every section and setting as a line, with its value and so its type."""
    return {f"[{name}] {key} = {value!r}" for name, keys in sections.items()
            for key, value in {"": "", **keys}.items()}


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


def built_in() -> set[str]:
    """Return the sections, settings and defaults of config.py in that form."""
    def default(field):
        value = field.default if field.default is not MISSING else field.default_factory()
        return list(value) if isinstance(value, tuple) else value
    return flat({name: {f.name: default(f) for f in fields(cls)} if cls else {}
                 for name, cls in config.SECTIONS.items() if name != "prices"})


CHAIN_TOML = (REPO / "chain.toml").read_text()


def test_every_default_stands_commented_in_chain_toml_with_the_same_value():
    assert commented(CHAIN_TOML) ^ built_in() == set()


def test_chain_toml_as_it_ships_changes_nothing_and_its_example_can_be_used():
    without = load()
    toml(CHAIN_TOML)
    assert load() == without
    example = CHAIN_TOML[CHAIN_TOML.index("# [endpoints."):].splitlines()
    toml("\n".join(line[2:] for line in example))
    assert set(load().endpoints) > set(config.BUILT_IN_ENDPOINTS)
