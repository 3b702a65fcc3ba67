"""The one reader of flags, environment, .env and chain.toml: a typed Settings, and where each value came from.

Flag > environment > .env > chain.toml > the default here. chain.toml and .env are looked for in --root, then in
the current folder; two are never merged. Keys are read from the environment only, held in a ApiKey, never printed.
"""
from __future__ import annotations

import difflib
import os
import re
import sys
from argparse import Namespace
from dataclasses import dataclass, field, fields, is_dataclass, replace
from io import StringIO
from math import inf
from pathlib import Path

from dotenv import dotenv_values

from codedata.bounded import read_bounded
from codedata.errors import Trouble
from codedata.records import HOW
from codedata.texts import printable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class ApiKey(str):
    """Hold a key: a str whose repr() does not show it."""

    def __repr__(self) -> str:
        return "****" if self else ""


@dataclass(frozen=True)
class LLM:
    """[llm]: what every role uses unless its own section says otherwise."""

    endpoint: str = "chutes"            # a name from [endpoints.NAME], or "embedded"
    base_url: str = ""                  # any OpenAI-compatible endpoint; wins over `endpoint`
    model: str = "moonshotai/Kimi-K2.6-TEE"
    temperature: float = 1.0
    max_tokens: int = 1024              # of an answer; left so, models that think get what judges get
    max_prompt_tokens: int = 0          # of a request; 0: no limit but the model's own
    workers: int = 32                   # items under way at the same time (env_setup.py: cores / cpu_request)
    retry_max: int = 3                  # on connection errors, 5xx, time-outs, unreadable bodies
    retry_wait_s: float = 1.5           # before the first retry; doubles, with jitter
    call_timeout_s: float = 300.0       # of one attempt, from its start to the last byte
    max_429_wait_s: float = 60.0        # the longest single wait on HTTP 429
    max_429_total_s: float = 1800.0     # of nothing but 429 from one endpoint: the run stops
    max_reply_bytes: int = 20_000_000   # of an answer, decompressed; a larger one is a failed call
    proxy: str = ""                     # for calls and downloads; the environment's proxies are not used
    ca_bundle: str = ""                 # PEM file of extra certificate authorities


@dataclass(frozen=True)
class RoleSettings:
    """Say who is asked and with which limits. A field that is None is taken from [llm]."""

    endpoint: str | None = None
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    max_prompt_tokens: int | None = None


@dataclass(frozen=True)
class KingSettings(RoleSettings):
    """[king]."""

    format_retries: int = 2             # further tries where an answer is not THOUGHT + one bash block


@dataclass(frozen=True)
class ChallengerSettings(KingSettings):
    """[challenger]."""

    leak_retries: int = 2               # further tries where it shows what the history has not; -1: not looked at
    how: str = "informed"               # informed | hinted | chosen | placebo: how the PR is used (docs: README)
    candidates: int = 4                 # of `chosen`: blind answers, of which a model that sees the PR picks one


@dataclass(frozen=True)
class AgentSettings(RoleSettings):
    """[agent]: the model of agents, and what one of them may take."""

    max_tokens: int | None = 8192       # of a reply
    max_seconds: float = 0.0            # of one agent, its commands too; 0: no limit
    max_usd: float = 0.0                # of one agent; 0: no limit


@dataclass(frozen=True)
class SandboxSettings:
    """[sandbox]: where the commands of agents and tests run."""

    sandbox: str = "docker"             # docker | kubernetes | local (isolates nothing)
    base_image: str = "codedata-base:bookworm"   # where a row names none
    cpu_request: float = 2.0            # cores
    memory_request: str = "5Gi"
    pids_limit: int = 1024              # processes and threads
    disk_limit: str = "10GB"            # of what one sandbox writes
    disk_floor: str = "10GB"            # free on the engine's disk, or new work waits
    run_timeout: int = 1800             # seconds of one install or test script
    namespace: str = "data-synthesis"   # of Kubernetes
    pod_prefix: str = "code-data-env-agent"
    kubeconfig: str = ""                # file; "": as kubectl finds it
    network_policy: bool = False        # of each pod, so that its network can be off; the cluster has to enforce them


@dataclass(frozen=True)
class EnvSettings:
    """[env]: how env_setup.py finds out how a repository is installed and tested."""

    planner: str = "auto"               # recipe: no model | agent | auto: the agent where no recipe verifies
    max_iterations: int = 100           # of an agent
    stage2_max_iterations: int = 60     # of the second one for JavaScript and TypeScript, which finds the test runner
    no_image: bool = False              # make no image of what was verified


@dataclass(frozen=True)
class PromptSettings:
    """[prompt]: what prompt.py samples."""

    source: str = "hf:AlienKevin/SWE-ZERO-12M-trajectories"
    prs: str = "hf:nebius/SWE-rebench-V2-PRs"
    config: str = "default"             # of a Hub data set
    split: str = "train"
    count: int = 2000
    seed: int = 0
    turns: str = "random"               # random | first | last | all
    max_per_instance: int = 1           # prompts of one PR; 0: no limit (always so with turns = "all")
    max_chars: int = 200_000            # a longer history + reference is skipped
    max_shown_share: float = 1.0        # of the patch that a history may have shown; 1: all of it
    window_rows: int = 1                # rows fetched at one random offset; more is cheaper from remote Parquet
    keep_unmatched: bool = False        # keep prompts without a PR record (king only: ch.py leaves them out)
    decontaminate: tuple[str, ...] = ()   # files of benchmarks: a prompt that overlaps with one is left out
    rows_url: str = "https://datasets-server.huggingface.co"
    hub_url: str = "https://huggingface.co"


@dataclass(frozen=True)
class Judge:
    """Hold an entry of [judge] models. A field that is None is taken from [judge] or [llm]."""

    model: str
    name: str | None = None             # in the records; default: the model's
    endpoint: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    max_prompt_tokens: int | None = None


@dataclass(frozen=True)
class JudgeSettings:
    """[judge]: the panel of validate.py."""

    models: tuple[str | Judge, ...] = ("deepseek-ai/DeepSeek-V3.2-TEE", "Qwen/Qwen3-235B-A22B-Thinking-2507",
                                       "moonshotai/Kimi-K2.6-TEE")   # names, or tables with the fields of Judge
    order: str = "both"                 # both: each judge is asked in both orders | king_first: once
    temperature: float = 0.0
    score_max_tokens: int = 768         # of a verdict
    thinking_models: tuple[str, ...] = ("Qwen/Qwen3-235B-A22B-Thinking-2507", "moonshotai/Kimi-K2.6-TEE")
    thinking_max_tokens: int = 4096     # of a verdict of one of these
    exclude_self: bool = False          # leave out judges of the family of a model that answered


@dataclass(frozen=True)
class LeakSettings:
    """[leak]: who tells whether a challenger shows the pull request. As [judge] has them, but for these."""

    models: tuple[str | Judge, ...] | None = None   # None: the panel's first, unless that is embedded; []: nobody
    max_tokens: int = 4096              # of a verdict
    king_share: float = 0.1             # of the king's turns, who know nothing: false alarms are measured on them


@dataclass(frozen=True)
class DuelSettings:
    """[duel]: who is compared, and when the challenger is accepted."""

    mode: str = "king"                  # the challenger against the king | reference: against the data set's own turn
    win_margin: float = 2.0             # the least lead of the challenger, in points of 100
    gate_alpha: float = 0.05            # the quantile of the resampled means that is the LCB
    bootstrap_resamples: int = 10_000
    min_valid_turn_frac: float = 0.5    # the least share of turns in which every judge's verdict was read
    min_turns: int = 5                  # with a verdict; less is no evidence
    min_instances: int = 5              # that they are of: turns of one instance are one piece of evidence
    seed: int = 0                       # of the bootstrap
    bootstrap: str = "cluster"          # cluster: instances are drawn whole | turn: turns, as if independent


@dataclass(frozen=True)
class ReportSettings:
    """[report]: the buckets and the page of report.py."""

    final_min: float = 80.0             # final/ from this score
    defeat_min: float = 66.0            # refined/ from this score, defeat/ below
    keep_flagged: bool = False          # also turns whose answer speaks to its judge, or shows the hidden PR, in final/
    detail_turns: int = 1000            # turns of which report.html holds the whole; the others name their files


@dataclass(frozen=True)
class ExportSettings:
    """[export]: the training sets of export.py."""

    formats: tuple[str, ...] = ("sft_messages", "sft_completion", "dpo", "kto", "jsonl")
    rejected_too: bool = False          # also where the duel was not accepted, or has no outcome
    dpo_min_margin: float = 16.0        # DPO and KTO: the least distance from 50 of a score outside final/
    dpo_max_length_ratio: float = 0.0   # DPO: how many times as long as the other a side may be; 0: no limit
    max_chars: int = 0                  # a longer history + answer is left out; 0: no limit
    duplicate_similarity: float = 0.8   # Jaccard from which a turn is a near-duplicate; 0: no check
    against: tuple[str, ...] = ()       # files or folders of earlier training data, whose turns are duplicates too
    decontaminate: tuple[str, ...] = ()   # files of benchmarks: a turn that overlaps with one is left out
    licences: tuple[str, ...] = ()      # of repositories ("unknown" is one); empty: all
    validation: float = 0.05            # share of the repositories
    seed: int = 0                       # of the split
    shard_rows: int = 10_000            # of a Parquet file
    licence: str = "other"              # of the data set, an id of the Hub


@dataclass(frozen=True)
class Exclude:
    """[exclude]: what no stage touches."""

    ids: tuple[str, ...] = ()           # instance ids
    max_patch_chars: int = 50_000       # a larger gold patch is an oversized PR; 0: no limit


@dataclass(frozen=True)
class Price:
    """USD for a million tokens."""

    input: float
    output: float
    cached: float | None = None         # of cached prompt tokens; None: as `input`


@dataclass(frozen=True)
class Endpoint:
    """[endpoints.NAME]: where a model is served."""

    name: str
    base_url: str = ""
    base_url_env: str = ""              # the environment's name for it; wins over base_url where it is set
    api_key_env: str = ""               # empty: the endpoint wants no key
    max_concurrency: int = 0            # calls in flight; 0: as many as there are workers
    headers: dict[str, str] = field(default_factory=dict)
    api_key: ApiKey = field(default=ApiKey(""), repr=False)


@dataclass(frozen=True)
class ModelSpec:
    """Hold a role with everything resolved: the model, its endpoint, and the limits of its requests."""

    role: str               # "king", "challenger"; a judge's name
    model: str
    endpoint: Endpoint
    temperature: float
    max_tokens: int
    max_prompt_tokens: int
    format_retries: int
    is_judge: bool = False
    is_leak_judge: bool = False

    def identity(self) -> dict:
        """Return what an answer depends on beside its inputs; its digest is the ledger's `settings`."""
        return {"model": self.model, "temperature": self.temperature, "max_tokens": self.max_tokens,
                "max_prompt_tokens": self.max_prompt_tokens}


@dataclass(frozen=True)
class Settings:
    """Hold every section of the settings, with the endpoints, prices and keys of one run."""
    llm: LLM = LLM()
    prompt: PromptSettings = PromptSettings()
    king: KingSettings = KingSettings()
    challenger: ChallengerSettings = ChallengerSettings()
    agent: AgentSettings = AgentSettings()
    judge: JudgeSettings = JudgeSettings()
    leak: LeakSettings = LeakSettings()
    duel: DuelSettings = DuelSettings()
    report: ReportSettings = ReportSettings()
    export: ExportSettings = ExportSettings()
    env: EnvSettings = EnvSettings()
    sandbox: SandboxSettings = SandboxSettings()
    exclude: Exclude = Exclude()
    prices: dict[str, Price] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    root: Path = Path(".")
    budget_usd: float | None = None
    hf_token: ApiKey = field(default=ApiKey(""), repr=False)

    def model_spec(self, role: str) -> ModelSpec:
        """Return who answers as `role` ("king", "challenger", "agent"): its section over [llm], a flag over both."""
        own = getattr(self, role)
        pick = {key: own_value if (own_value := getattr(own, key)) is not None else getattr(self.llm, key)
                for key in ("model", "temperature", "max_tokens", "max_prompt_tokens")}
        spec = self._model_spec(role, own.endpoint, format_retries=getattr(own, "format_retries", 0), **pick)
        is_default = spec.max_tokens == LLM.max_tokens and spec.model in self.judge.thinking_models
        return replace(spec, max_tokens=self.judge.thinking_max_tokens) if is_default else spec

    def judges(self) -> list[ModelSpec]:
        """Return the panel in the order of [judge] models. A panel on the embedded model is one judge."""
        return self._panel(self.judge.models, "[judge] models")

    def leak_judges(self) -> list[ModelSpec]:
        """Return the leak judges: [leak] models, or the panel's first. The embedded model is too small to be one."""
        models = self.judge.models[:1] if self.leak.models is None else self.leak.models
        return [replace(spec, max_tokens=max(spec.max_tokens, self.leak.max_tokens), is_leak_judge=True)
                for spec in self._panel(models, "[leak] models") if spec.endpoint.name != "embedded"]

    def _panel(self, models: tuple[str | Judge, ...], where: str) -> list[ModelSpec]:
        own, panel = self.judge, {}
        for judge in (Judge(m) if isinstance(m, str) else m for m in models):
            thinks = judge.model in own.thinking_models
            spec = self._model_spec(
                judge.name or judge.model, judge.endpoint, model=judge.model, format_retries=0, is_judge=True,
                temperature=own.temperature if judge.temperature is None else judge.temperature,
                max_tokens=judge.max_tokens or (own.thinking_max_tokens if thinks else own.score_max_tokens),
                max_prompt_tokens=self.llm.max_prompt_tokens if judge.max_prompt_tokens is None
                else judge.max_prompt_tokens)
            if spec.endpoint.name == "embedded":
                spec = replace(spec, role=judge.name or EMBEDDED_MODEL, max_tokens=own.score_max_tokens)
            elif spec.role in panel:
                raise Trouble(f"names {spec.role!r} twice.", where,
                              "Give one of them a `name` of its own.")
            panel[spec.role] = spec
        return list(panel.values())

    def _model_spec(self, role: str, endpoint_name: str | None, model: str, **limits) -> ModelSpec:
        if endpoint_name is None and self.llm.base_url:
            endpoint = replace(self.endpoints["base_url"], base_url=self.llm.base_url.rstrip("/"))
        elif (name := endpoint_name or self.llm.endpoint) in self.endpoints:
            endpoint = self.endpoints[name]
        else:
            raise Trouble(f"no endpoint is called {name!r}.",
                          todo=_did_you_mean(name, self.endpoints, "[endpoints.{}]"))
        if endpoint.name == "embedded":
            model = EMBEDDED_MODEL
        return ModelSpec(role=role, endpoint=endpoint, model=model, **limits)


EMBEDDED_MODEL = "smollm2-135m-instruct"
SECTIONS = {"llm": LLM, "prompt": PromptSettings, "king": KingSettings, "challenger": ChallengerSettings,
            "agent": AgentSettings, "judge": JudgeSettings, "leak": LeakSettings, "duel": DuelSettings,
            "report": ReportSettings, "export": ExportSettings, "env": EnvSettings,
            "sandbox": SandboxSettings, "exclude": Exclude}
ENVIRONMENT = {"llm.base_url": "LLM_BASE_URL", "llm.proxy": "PIPELINE_PROXY", "llm.ca_bundle": "REQUESTS_CA_BUNDLE",
               "duel.mode": "DUEL_MODE"}
FLAGS = {"llm.endpoint": "llm", "llm.base_url": "llm_base_url", "llm.model": "model", "llm.workers": "workers",
         "llm.proxy": "proxy", "llm.ca_bundle": "ca_bundle"}
FLAGS_OF_ROLES = {"endpoint": "llm", "model": "model"}   # a flag goes for whoever answers, also over its own section
AT_LEAST = {"llm.workers": 1, "llm.max_tokens": 1, "llm.max_prompt_tokens": 0, "llm.retry_max": 0,
            "llm.retry_wait_s": 0, "llm.call_timeout_s": 0.001, "llm.max_429_wait_s": 0, "llm.max_429_total_s": 0,
            "llm.temperature": 0, "llm.max_reply_bytes": 1,
            "prompt.count": 1, "prompt.seed": 0, "prompt.max_per_instance": 0, "prompt.max_chars": 1,
            "prompt.max_shown_share": 0,
            "prompt.window_rows": 1, "exclude.max_patch_chars": 0,
            "judge.temperature": 0, "judge.score_max_tokens": 1, "judge.thinking_max_tokens": 1,
            "duel.bootstrap_resamples": 1, "duel.min_turns": 1, "duel.min_instances": 1, "duel.seed": 0,
            "report.final_min": 0, "report.defeat_min": 0, "report.detail_turns": 0, "export.dpo_min_margin": 0,
            "export.dpo_max_length_ratio": 0, "export.max_chars": 0,
            "export.duplicate_similarity": 0, "export.validation": 0, "export.seed": 0, "export.shard_rows": 1,
            "challenger.leak_retries": -1, "challenger.candidates": 1, "leak.max_tokens": 1, "leak.king_share": 0,
            "agent.temperature": 0, "agent.max_tokens": 1, "agent.max_prompt_tokens": 0,
            "agent.max_seconds": 0, "agent.max_usd": 0, "env.max_iterations": 1, "env.stage2_max_iterations": 1,
            "sandbox.cpu_request": 0.1, "sandbox.pids_limit": 16, "sandbox.run_timeout": 1,
            **{f"{role}.{key}": least for role in ("king", "challenger") for key, least in
               (("temperature", 0), ("max_tokens", 1), ("max_prompt_tokens", 0), ("format_retries", 0))}}
SHARES = ("duel.gate_alpha", "duel.min_valid_turn_frac")   # above 0; 1 only for the latter
CHOICES = {"challenger.how": {how: how for how in HOW},
           "env.planner": {"auto": "auto", "recipe": "recipe", "agent": "agent"},
           "sandbox.sandbox": {"docker": "docker", "kubernetes": "kubernetes", "local": "local"},
           "judge.order": {"both": "both", "king_first": "king_first"},
           "duel.bootstrap": {"cluster": "cluster", "turn": "turn"},
           "duel.mode": {"king": "king", "reference": "reference", "2": "king", "1": "reference"}}
BUILT_IN_ENDPOINTS = {
    "chutes": {"base_url": "https://llm.chutes.ai/v1", "base_url_env": "CHUTES_BASE_URL",
               "api_key_env": "CHUTES_API_KEY"},
    "base_url": {"api_key_env": ""},      # of --llm-base-url and LLM_BASE_URL
    "embedded": {"max_concurrency": 1},   # one slot: further calls would only wait inside the server
}


MAX_SETTINGS_BYTES = 10_000_000


def load(args) -> Settings:
    """Return the settings of one run of a script. Print them and end the script where --show-config was given."""
    root = Path(args.root)
    path, table = _read_toml(args, root)
    environment = _Environment(root)
    origin: dict[str, str] = {}
    values = _layered(args, table, path, environment, origin)
    if args.llm_auth_token and not (args.llm_base_url or values["llm"]["base_url"]):
        raise Trouble("--llm-auth-token goes with --llm-base-url.", todo="The key of a named endpoint is read from the "
                      "environment: its api_key_env, CHUTES_API_KEY for the default one.")
    if args.llm and args.llm_base_url:
        raise Trouble("--llm and --llm-base-url name two endpoints.", todo="Give one of them.")
    token = args.llm_auth_token or environment.get("QIANFAN_BEARER_TOKEN")
    endpoints = _endpoints(table, path, environment, token, origin)
    settings = Settings(
        **{name: cls(**values[name]) for name, cls in SECTIONS.items() if cls},
        prices=_prices(table, path, origin), endpoints=endpoints, root=root, budget_usd=args.budget,
        hf_token=ApiKey(environment.get("HF_TOKEN") or environment.get("HUGGINGFACE_API_KEY") or ""))
    if args.show_config:
        _show(settings, origin)
        raise SystemExit(0)
    return settings


def for_endpoint(base_url: str, model: str, key: str = "") -> Settings:
    """Return settings for one model at one endpoint, outside a script. Everything else comes from the usual places."""
    return load(Namespace(root=".", config=None, sections=(), show_config=False, llm=None, model=model,
                          llm_base_url=base_url, llm_auth_token=key, budget=None))


class _Environment:
    """os.environ, then .env (of --root, else of the current folder)."""

    def __init__(self, root: Path):
        self.file = _first_there(root / ".env", Path(".env"))
        try:
            self.values = dotenv_values(stream=StringIO(_read(self.file))) if self.file else {}
        except UnicodeDecodeError as e:
            raise Trouble(f"is not UTF-8: {e}", str(self.file), "Write it again as UTF-8.") from e

    def get(self, name: str) -> str | None:
        """Return a variable of the environment or of .env; None where it is empty or missing."""
        return os.environ.get(name) or self.values.get(name) or None

    def origin(self, name: str) -> str:
        """Return where a variable came from, as --show-config prints it."""
        return f"environment {name}" if os.environ.get(name) else f"{self.file} {name}"


def _read_toml(args, root: Path):
    if args.config and not Path(args.config).is_file():
        raise Trouble("is not a file.", args.config, "Give --config a TOML file such as chain.toml.")
    path = Path(args.config) if args.config else _first_there(root / "chain.toml", Path("chain.toml"))
    if path is None:
        return None, {}
    try:
        return path, tomllib.loads(_read(path))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as e:
        raise Trouble(f"is not valid TOML: {e}", str(path), "Mend that line, or comment it out.") from e


def _first_there(*paths: Path) -> Path | None:
    """Return the first that is there and no folder (.env may be one of Python's). What is no file is Trouble later."""
    return next((path for path in paths if path.exists() and not path.is_dir()), None)


def _read(path: Path) -> str:
    return read_bounded(path, MAX_SETTINGS_BYTES).decode("utf-8").replace("\r\n", "\n")


def _layered(args, table, path, environment, origin):
    """{section: {key: value}} by precedence; unknown keys and wrong types are Trouble."""
    _refuse_unknown(table, [*SECTIONS, "prices", "endpoints"], path, "section [{}]")
    values = {}
    for section, cls in SECTIONS.items():
        given = _section(table, section, path)
        known = {f.name: f for f in fields(cls)} if cls else {}
        _refuse_unknown(given, known, path, f"key in [{section}]: {{}}")
        values[section] = {}
        for key, f in known.items():
            name = f"{section}.{key}"
            values[section][key], origin[name] = f.default, "default"
            if key in given:
                values[section][key] = _typed(given[key], f.type, f"{path} [{section}] {key}")
                origin[name] = str(path)
            if (env := ENVIRONMENT.get(name)) and (value := environment.get(env)):
                values[section][key], origin[name] = _typed(value, f.type, env), environment.origin(env)
            flag = FLAGS.get(name) or (FLAGS_OF_ROLES.get(key) if issubclass(cls, RoleSettings) else None) or (
                key if section in args.sections else "")
            if flag and (value := getattr(args, flag, None)) is not None:
                values[section][key] = tuple(value) if isinstance(value, list) else value   # a flag given repeatedly
                origin[name] = f"flag --{flag.replace('_', '-')}"
            value, least = values[section][key], AT_LEAST.get(name)
            if None not in (value, least) and not least <= value < inf:
                raise Trouble(f"is {value}; it must be {least:g} or more.", f"[{section}] {key} ({origin[name]})")
            values[section][key] = _checked(name, value, f"[{section}] {key} ({origin[name]})")
    if args.model:
        values["judge"]["models"], origin["judge.models"] = (args.model,), "flag --model"
    if args.llm or args.llm_base_url:   # the one that a flag names is meant, whatever the files say of the other
        values["llm"]["base_url"] = args.llm_base_url or ""
        for section, cls in SECTIONS.items():
            if issubclass(cls, RoleSettings) and not args.llm:
                values[section]["endpoint"] = None
        for section in ("judge", "leak"):
            models = values[section]["models"]
            values[section]["models"] = models and tuple(
                judge if isinstance(judge, str) else replace(judge, endpoint=None) for judge in models)
    return values


def _checked(name: str, value, where: str):
    """`value` where it is one of the few, or in the range, that the setting may have."""
    if choices := CHOICES.get(name):
        if value not in choices:
            raise Trouble(f"is {value!r}; it may be {', '.join(choices)}.", where)
        return choices[value]
    if name in SHARES and not 0 < value <= 1 - (name == "duel.gate_alpha") * 1e-9:
        raise Trouble(f"is {value:g}; it must be between 0 and 1.", where)
    if name in ("duel.win_margin", "report.final_min", "report.defeat_min") and not -100 <= value <= 100:
        raise Trouble(f"is {value:g}; it is in points of 100.", where)
    if name in ("export.duplicate_similarity", "export.validation", "leak.king_share",
                "prompt.max_shown_share") and value > 1:
        raise Trouble(f"is {value:g}; it must be between 0 and 1.", where)
    if name == "duel.bootstrap_resamples" and value > 1_000_000:
        raise Trouble(f"is {value:,}; it must be at most 1,000,000.", where)
    if name == "judge.models" and not value:
        raise Trouble("is empty: a duel needs a judge.", where)
    return value


def _section(table: dict, name: str, path) -> dict:
    given = table.get(name, {})
    if not isinstance(given, dict):
        raise Trouble(f"`{name}` is not a section.", str(path), f"Write [{name}] on a line of its own.")
    return given


def _typed(value, kind: str, where: str):
    """`value` as the type that a data class declares; a whole number may stand for a float."""
    wants = kind.removesuffix(" | None")
    if wants == "float" and type(value) is int:
        return float(value)
    if wants == "tuple[str, ...]" and isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(value)
    if wants == "tuple[str | Judge, ...]" and isinstance(value, list):
        return tuple(_judge(entry, f"{where}[{i}]") for i, entry in enumerate(value))
    if type(value).__name__ == wants:
        return value
    raise Trouble(f"should be {'a list of texts' if wants.startswith('tuple') else wants}, not {value!r}.", where)


def _judge(entry, where: str) -> str | Judge:
    if isinstance(entry, str) and entry:
        return entry
    if not isinstance(entry, dict) or not entry.get("model"):
        raise Trouble("should be a model's name, or a table with `model`.", where)
    known = {f.name: f for f in fields(Judge)}
    _refuse_unknown(entry, known, where, "key: {}")
    judge = Judge(**{key: _typed(value, known[key].type, f"{where} {key}") for key, value in entry.items()})
    for key, least in (("temperature", 0), ("max_tokens", 1), ("max_prompt_tokens", 0)):
        if (value := getattr(judge, key)) is not None and not least <= value < inf:
            raise Trouble(f"is {value}; it must be {least} or more.", f"{where} {key}")
    return judge


def _refuse_unknown(given, known, path, what):
    for name in given:
        if name not in known:
            raise Trouble(f"has an unknown {what.format(printable(name, 200))}.", str(path),
                          _did_you_mean(name, known, "{}"))


def _did_you_mean(name, known, form) -> str:
    near = difflib.get_close_matches(name, list(known), 1, 0.5)
    listed = ", ".join(form.format(printable(k, 200)) for k in known if k != "base_url" or form == "{}") or "none"
    return f"Did you mean {form.format(near[0])}?" if near else f"Known: {listed}."


def _endpoints(table, path, environment, token, origin):
    endpoints, given = {}, _section(table, "endpoints", path)
    for name in {**BUILT_IN_ENDPOINTS, **given}:
        own = given.get(name, {})
        if not isinstance(own, dict):
            raise Trouble("is not a table.", f"{path} [endpoints] {name}",
                          f"Write [endpoints.{name}] and base_url below it.")
        known = {f.name: f for f in fields(Endpoint) if f.name not in ("name", "api_key")}
        _refuse_unknown(own, known, path, f"key in [endpoints.{name}]: {{}}")
        for key, value in own.items():
            if key == "headers":
                if not (isinstance(value, dict) and all(isinstance(v, str) for v in value.values())):
                    raise Trouble("should be a table of texts.", f"{path} [endpoints.{name}] headers")
            else:
                _typed(value, known[key].type, f"{path} [endpoints.{name}] {key}")
        endpoint = Endpoint(name=name, **{**BUILT_IN_ENDPOINTS.get(name, {}), **own})
        url_env, key_env = endpoint.base_url_env, endpoint.api_key_env
        origin[f"endpoints.{name}"] = str(path) if own else "default"
        if url_env and environment.get(url_env):
            endpoint = replace(endpoint, base_url=environment.get(url_env))
            origin[f"endpoints.{name}"] = environment.origin(url_env)
        key = token if name == "base_url" else environment.get(key_env) if key_env else None
        endpoints[name] = replace(endpoint, base_url=endpoint.base_url.rstrip("/"), api_key=ApiKey(key or ""))
    return endpoints


def _prices(table, path, origin):
    prices = {EMBEDDED_MODEL: Price(0.0, 0.0)}
    for model, given in _section(table, "prices", path).items():
        where = f"{path} [prices] {model!r}"
        if not isinstance(given, dict):
            raise Trouble("is not a table.", where, PRICE_LINE.format(model=model))
        _refuse_unknown(given, ["in", "out", "cached"], path, f"key in [prices] {model!r}: {{}}")
        if not {"in", "out"} <= given.keys():
            raise Trouble("needs `in` and `out`.", where, PRICE_LINE.format(model=model))
        for key, value in given.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < inf:
                raise Trouble(f"`{key}` should be USD for a million tokens, not {value!r}.", where)
        prices[model] = Price(given["in"], given["out"], given.get("cached"))
        origin[f"prices.{model}"] = str(path)
    return prices


PRICE_LINE = 'Add under [prices] in chain.toml, in USD for a million tokens:  "{model}" = {{ in = 0.00, out = 0.00 }}'


def _show(settings: Settings, origin: dict[str, str]):
    for name, where in origin.items():
        if name == "endpoints.base_url" and not settings.llm.base_url:
            continue   # nobody named an address
        section, _, key = name.partition(".")
        value = getattr(settings, section)
        value = value[key] if isinstance(value, dict) else getattr(value, key)
        if isinstance(value, Endpoint):
            wanted = "not set" if value.api_key_env or value.name == "base_url" else "none needed"
            address = settings.llm.base_url if value.name == "base_url" else value.base_url or "-"
            extra = f", at most {value.max_concurrency} calls" if value.max_concurrency else ""
            extra += f", headers {', '.join(value.headers)}" if value.headers else ""
            value = f"{address}{extra}, key {f'{value.api_key_env} ' * bool(value.api_key_env)}" + (
                "set" if value.api_key else wanted)
        elif is_dataclass(value):
            value = f"in {value.input}, out {value.output}, cached {value.cached}"
        elif value is None:
            value = "(as [llm])"
        elif name in ("judge.models", "leak.models"):
            value = [judge if isinstance(judge, str) else _as_table(judge) for judge in value]
        value = re.sub(r"//[^/@\s]*@", "//****@", str(list(value) if isinstance(value, tuple) else value))
        print(f"{printable(name)} = {printable(value, 20_000)}  # {printable(where)}")
    print(f"HF_TOKEN = {'****' if settings.hf_token else '(not set)'}")
    print(f"budget = {settings.budget_usd if settings.budget_usd is not None else '(none)'}")


def _as_table(judge: Judge) -> dict:
    return {key: value for key, value in vars(judge).items() if value is not None}
