"""Define the schema of the settings: each section of chain.toml is a class, each key a field with
its default and its bounds. config.py fills them in.
"""
from __future__ import annotations

import re
from dataclasses import MISSING, dataclass, field, fields, replace
from math import inf
from pathlib import Path

from codedata.errors import Trouble
from codedata.records import HOW, Attempt, Object, Task
from codedata.texts import did_you_mean

EMBEDDED_MODEL = "smollm2-135m-instruct"
# value of [prompt] source for the root's attempts; `prs` then defaults to the root's tasks
ATTEMPTS = Attempt.directory
SESSIONS = "sessions"   # a source: the session files below a home folder
BY_CODE = {"by_code": True}   # metadata of a field that chain.toml may not set
MODEL_LIMITS = ("temperature", "max_tokens", "max_prompt_tokens")
# how a model is asked to act: by tool calls, by texts with a bash block, or by texts only if it
# takes no tools
PROTOCOLS = AUTO, NATIVE, TEXT = "auto", "native", "text"
# {role: further tries after a malformed reply}
FORMAT_RETRIES = {"king": 2, "challenger": 2, "agent": 2, "audit": 2, "issue": 3}
# models that think before they answer, and their default max_tokens
THINKING_MODELS = ("Qwen/Qwen3-235B-A22B-Thinking-2507", "moonshotai/Kimi-K2.6-TEE")
THINKING_MAX_TOKENS = 4096
JUDGE_TEMPERATURE = 0.0
SCORE_MAX_TOKENS = 768   # for a verdict; models that think get THINKING_MAX_TOKENS
LEAK_MAX_TOKENS = 4096   # minimum max_tokens of a leak judge
# average length of a reply as a share of max_tokens; all but THINKING_SHARE are measured
# (docs/costs.md)
TURN_SHARE, VERDICT_SHARE, LEAK_SHARE, THINKING_SHARE = 0.3, 0.12, 0.005, 0.37
NOT_SENT = "none"         # value of a temperature that requests leave out
USUAL_TEMPERATURE = 1.0   # the assumed temperature of a model if requests leave it out
# keys that a group of endpoints does not have
OF_MEMBERS = "base_url", "api_key_env", "headers", "max_concurrency"
MAX_PATCH_CHARS = 50_000   # a pull request with a longer gold patch is oversized


def at_least(low: float, default):
    """Return a numeric field of a section, with the minimum `low`."""
    return between(low, inf, default)


def between(low: float, high: float, default, without: tuple[float, ...] = ()):
    """Return a numeric field of a section, from `low` to `high` but none of `without`. Its
    metadata's `problem` returns why a number is refused, or None."""
    def problem(value: float) -> str | None:
        if low <= value <= high and value not in without:
            return None
        if high == inf:
            return f"is {value}; it must be {low:g} or more."
        return f"is {value:,g}; it must be between {low:,g} and {high:,g}."

    return field(default=default, metadata={"problem": problem})


def password_in(url: str) -> str | None:
    """Return why a database's address is refused, or None: one with a password, since addresses are
    printed."""
    if url and not re.match("postgres(ql)?://", url):
        return "does not look like postgresql://user@host/database."
    return "has a password. Put it into PGPASSWORD or ~/.pgpass." if (
        re.search("//[^@]*:[^@]*@|[?&](ssl)?password=", url)) else None


def one_of(default: str | None, *others: str, aliases: dict[str, str] | None = None):
    """Return a field of a section with a fixed choice of texts; `aliases` maps further spellings to
    choices."""
    choices = {name: name for name in (default, *others) if name}
    return field(default=default, metadata={"choices": {**choices, **(aliases or {})}})


class ApiKey(str):
    """Hold a key: a str whose repr() hides it. If the key is empty because it must not be sent,
    `withheld` says why."""

    withheld = ""

    def __repr__(self) -> str:
        return "****" if self else ""


@dataclass(frozen=True)
class LLM:
    """[llm]: the settings of every role, unless its own section overrides them."""

    endpoint: str = "chutes"            # a name from [endpoints.NAME], or "embedded"
    base_url: str = ""                  # any OpenAI-compatible endpoint; wins over `endpoint`
    model: str = "moonshotai/Kimi-K2.6-TEE"
    temperature: float = at_least(0, 1.0)   # "none": requests leave it out
    max_tokens: int = at_least(1, 1024)   # for an answer; at this default, thinking models get more
    max_prompt_tokens: int = at_least(0, 0)    # for a request; 0: only the model's own limit
    protocol: str = one_of(*PROTOCOLS)  # for models with tools; auto: text if they are refused
    workers: int = at_least(1, 32)      # items in flight (with containers: cores / cpu_request)
    retry_max: int = at_least(0, 3)     # on connection errors, 5xx, time-outs, unreadable bodies
    retry_wait_s: float = at_least(0, 1.5)     # before the first retry; doubles, with jitter
    max_429_total_s: float = at_least(0, 1800.0)     # time of only HTTP 429 after which a run stops
    call_timeout_s: float = at_least(0.001, 300.0)   # for one attempt, from start to last byte
    proxy: str = ""                     # for calls and downloads; HTTPS_PROXY is ignored
    ca_bundle: str = ""                 # PEM file of extra certificate authorities


@dataclass(frozen=True)
class RoleSettings:
    """Set a role's model and endpoint. A field that is None has the value of the endpoint's table,
    or else of [llm]. In [dp_…] and [solve] it has the value of [agent]; but a section with its own
    endpoint does not take the `extra_body` of [agent]."""

    endpoint: str | None = None
    model: str | None = None
    extra_body: Object | None = None   # added to the endpoint's extra_body


@dataclass(frozen=True)
class LimitedRole(RoleSettings):
    """Set a role's model, endpoint and limits."""

    temperature: float | None = at_least(0, None)
    max_tokens: int | None = at_least(1, None)
    max_prompt_tokens: int | None = at_least(0, None)


@dataclass(frozen=True)
class ActingRole(LimitedRole):
    """Set up a role that may be offered tools."""

    protocol: str | None = one_of(None, *PROTOCOLS)   # docs/agents.md, docs/duel.md


@dataclass(frozen=True)
class KingSettings(ActingRole):
    """[king]: the model that answers from the history only."""

    samples: int = at_least(1, 1)   # blind answers; at least 3 for `chosen`


@dataclass(frozen=True)
class ChallengerSettings(ActingRole):
    """[challenger]: the model that answers knowing the pull request."""

    how: str = one_of(*HOW)               # how the PR is used (docs/duel.md)


@dataclass(frozen=True)
class AgentSettings(ActingRole):
    """[agent]: the agents' model, and the limits of one agent."""

    max_tokens: int | None = at_least(1, 16384)   # for a reply
    max_seconds: float = at_least(0, 0.0)        # for one agent with its commands; 0: no limit
    max_usd: float = at_least(0, 0.0)            # for one agent; 0: no limit


@dataclass(frozen=True)
class AuditSettings(RoleSettings):
    """[audit]: the model that reads survivors and writes cheats for audit.py. Without `model`, no
    model is asked."""

    max_tokens = 2048   # for a reply: not a key of the section


@dataclass(frozen=True)
class SandboxSettings:
    """[sandbox]: the sandboxes for agents' commands and tests."""

    sandbox: str = one_of("docker", "kubernetes", "local")   # local isolates nothing
    base_image: str = "codedata-base:bookworm"   # for --input rows without an image
    cpu_request: float = at_least(0.1, 2.0)      # cores
    memory_request: str = "5Gi"
    disk_limit: str = "10GB"                     # for the writes of one sandbox
    disk_floor: str = "10GB"                     # new work waits if the engine's disk has less free
    run_timeout: int = at_least(1, 1800)         # seconds for a script or an agent's command
    namespace: str = "data-synthesis"            # in Kubernetes
    pod_prefix: str = "code-data-env-agent"
    network_policy: bool = False                 # one for each pod; the cluster must enforce it
    registry: str = ""                           # HOST[:PORT][/PATH] to push kept images to


@dataclass(frozen=True)
class EnvSettings:
    """[env]: how env_setup.py finds a repository's install and test scripts."""

    planner: str = one_of("auto", "recipe", "agent")   # auto: recipes, and the agent if none fits
    no_image: bool = False                             # do not keep the image after verification


@dataclass(frozen=True)
class BugSettings:
    """[bug]: limits for the bugs of bug_inject.py."""

    per_repo: int = at_least(1, 2)           # agents per repository; each makes a candidate
    max_candidates: int = at_least(1, 1000)  # candidates per repository, made by operators
    max_instances: int = at_least(1, 200)    # bugs per repository that `scale` writes
    max_per_failing_set: int = at_least(1, 1)     # bugs that make the same tests fail


@dataclass(frozen=True)
class RunSettings:
    """[run]: how run_turns.py runs answers, in the state that a turn's history leads to."""

    environments: str = ""                     # root whose env/ is used; "": this root
    linked_folders: bool = False               # whether a root's folders may be links


@dataclass(frozen=True)
class PrTasksSettings:
    """[pr_tasks]: which pull requests become tasks, and the writer of their instructions."""

    # own: the pull request's text; llm: the model of [issue] checks it, and rewrites an unfit one
    writer: str = one_of("own", "llm")
    github_url: str = "https://api.github.com"   # REST API that `github:` reads


@dataclass(frozen=True)
class IssueSettings(RoleSettings):
    """[issue]: the model that reports bugs as a user would."""

    writer: str = one_of("llm", "template")   # template: from failing tests, no model


@dataclass(frozen=True)
class Nl2RepoSettings:
    """[nl2repo]: the documents and stripped patches of nl2repo.py."""

    writer: str = one_of("llm", "template")   # template: no model


@dataclass(frozen=True)
class DpSettings:
    """[dp]: the tasks that the agents of build_dp.py make."""

    profile: str = one_of("backend", "general")   # profile of the tasks, in profiles.toml
    drafts: int = at_least(1, 5)        # drafts of tasks from each seed
    lease_s: float = between(1, 100_000, 60.0)   # a killed agent's task is free again after this
    # postgresql://… of one root's tasks; "": dp/_queue.jsonl
    queue: str = field(default="", metadata={"problem": password_in})


@dataclass(frozen=True)
class SolveSettings(RoleSettings):
    """[solve]: the model that attempts tasks; a field that is None has the value of [agent]."""

    n: int = at_least(1, 4)             # attempts at each task
    workers: int = at_least(1, 32)      # attempts of a model open at once, and calls
    agent: str = one_of("own", "nop", "gold", "command")
    command: str = ""                   # bash code that `--agent command` runs in the container
    network: bool = False               # let agents use the network
    max_steps: int = at_least(1, 100)   # replies of an attempt
    # spread: the first attempt at each task, then the second at each, … | uncertain: first at the
    # tasks whose rate is least known, and none at tasks that the agent solved 8 of 8 times
    first: str = one_of("spread", "uncertain")
    until: tuple[int, ...] = ()         # [solved, failed]: no further attempt after so many of both
    max_task_usd: float = at_least(0, 0.0)   # limit of an agent's attempts at a task; 0: none
    keep: int = at_least(0, 0)          # attempts that --prune leaves whole, if all solved; 0: all
    agent_image: str = "codedata-mini-swe-agent:2.4.6"   # `--agent command` mounts its /opt/agent

    def __post_init__(self):
        if self.until and (len(self.until) != 2 or min(self.until) < 1):
            raise Trouble("is not two numbers from 1.", "[solve] until", "Write [solved, failed].")


@dataclass(frozen=True)
class PromptSettings:
    """[prompt]: the turns that prompt.py samples."""

    source: str = "hf:AlienKevin/SWE-ZERO-12M-trajectories"
    prs: str = "hf:nebius/SWE-rebench-V2-PRs"
    config: str = "default"                 # configuration of a Hub data set
    split: str = "train"
    count: int = at_least(1, 2000)
    seed: int = at_least(0, 0)
    turns: str = one_of("random", "first", "last", "all")
    calls: str = one_of("as_is", "one")     # one: leave out turns with several calls
    max_per_instance: int = at_least(0, 1)  # prompts of one PR; 0, or turns = "all": no limit
    max_chars: int = at_least(1, 200_000)   # a longer history + reference is skipped
    keep_unmatched: bool = False            # keep prompts without a PR record, only for king.py
    only_repo: str = ""                     # only trajectories of this repository or work folder
    decontaminate: tuple[str, ...] = ()     # benchmark files: leave out overlapping prompts
    hub_url: str = "https://huggingface.co"

    def __post_init__(self):
        if self.source == ATTEMPTS:   # some tasks have no patch, so no PR record
            object.__setattr__(self, "keep_unmatched", True)
        own = {ATTEMPTS: Task.directory, SESSIONS: SESSIONS}.get(self.source.partition(":")[0])
        if own and self.prs == PromptSettings.prs:
            object.__setattr__(self, "prs", own)


@dataclass(frozen=True)
class Judge(LimitedRole):
    """Set up one judge: a table in [judge] models. A field that is None has the value of the
    endpoint's table, or else the judges' default (temperature, max_tokens) or the value of [llm].
    """

    name: str | None = None             # its name in records; None: the model's name


@dataclass(frozen=True)
class JudgeSettings:
    """[judge]: the panel of validate.py."""

    models: tuple[str | Judge, ...] = (   # names of models, or tables with the fields of Judge
        "deepseek-ai/DeepSeek-V3.2-TEE", "Qwen/Qwen3-235B-A22B-Thinking-2507",
        "moonshotai/Kimi-K2.6-TEE")
    order: str = one_of("both", "king_first")   # both: each judge is asked in both orders


@dataclass(frozen=True)
class LeakSettings:
    """[leak]: the judges that decide whether a challenger reveals the PR. Their other settings have
    the defaults of judges."""

    models: tuple[str | Judge, ...] | None = None   # None: the panel's first; []: no leak judge
    king_share: float = between(0, 1, 0.1)   # share of king's turns to judge, too (< 20 turns: all)


@dataclass(frozen=True)
class DuelSettings:
    """[duel]: the challenger's opponent, and the conditions for accepting the challenger."""

    mode: str = one_of("king", "reference", aliases={"2": "king", "1": "reference"})
    win_margin: float = between(-100, 100, 2.0)   # minimum lead of the challenger, in points of 100
    gate_alpha: float = between(0, 1, 0.05, without=(0, 1))   # LCB: quantile of the resampled means
    # minimum share of the turns on which every judge gave a verdict
    min_valid_turn_frac: float = between(0, 1, 0.5, without=(0,))
    min_turns: int = at_least(1, 5)       # turns with a verdict; fewer prove nothing
    min_instances: int = at_least(1, 5)   # distinct instances among those turns


@dataclass(frozen=True)
class ReportSettings:
    """[report]: the buckets and the page of report.py."""

    final_min: float = between(0, 100, 80.0)    # final/ from this score
    defeat_min: float = between(0, 100, 66.0)   # refined/ from this score, defeat/ below
    note: str = ""                        # first lines of report.md and index.html


@dataclass(frozen=True)
class ExportSettings:
    """[export]: the training sets of export.py."""

    formats: tuple[str, ...] = ()       # empty: every format whose directories have records
    rejected_too: bool = False          # also export a duel that was not accepted
    dpo_min_margin: float = at_least(0, 16.0)   # DPO, KTO: minimum distance of a score from 50
    tool_calls: str = one_of("native", "text")   # text: calls become equivalent shell commands
    max_chars: int = at_least(0, 0)     # a longer history + answer is left out; 0: no limit
    duplicate_similarity: float = between(0, 1, 0.8)   # Jaccard of near-duplicates; 0: no check
    decontaminate: tuple[str, ...] = ()   # benchmark files: overlapping turns are left out
    trajectories_per_task: int = at_least(0, 2)   # solved, with the fewest turns; 0: no limit
    checked_only: bool = True           # solved ones must end in a run of code that did not fail
    licences: tuple[str, ...] = ()      # export repositories with these (or "unknown"); empty: all
    min_words: int = at_least(0, 8)     # in a pull request's text; 0: any text will do
    validation: float = between(0, 1, 0.05)   # share of repositories in the validation split
    licence: str = "other"              # licence of the exported data set, as the Hub names it
    harbor_network: str = one_of("auto", "public", "no-network", "compose")   # docs/exports.md
    audited_only: bool = False          # leave out tasks that have no audit or fail it
    pass_rate: tuple[float, ...] = ()   # [low, high]: bounds of an agent's pass rate at a task
    pass_rate_agent: str = ""           # an agent's or model's name; empty: any agent with a model
    secrets_in_tests: bool = False      # keep tasks whose tests seem to contain a credential


@dataclass(frozen=True)
class Exclude:
    """[exclude]: items that every stage leaves out."""

    ids: tuple[str, ...] = ()           # instance ids


@dataclass(frozen=True)
class Price:
    """Hold a model's prices, in USD for a million tokens."""

    in_: float = at_least(0, MISSING)
    out: float = at_least(0, MISSING)
    cached: float | None = at_least(0, None)   # for cached prompt tokens; None: as `in`


@dataclass(frozen=True)
class Endpoint:
    """[endpoints.NAME]: an address that serves models."""

    name: str = field(metadata=BY_CODE)
    base_url: str = ""                  # with litellm: may be "" for vendors in llm/vendors.py
    base_url_env: str = ""              # environment variable that wins over base_url
    api_key_env: str = ""               # environment variable of the key; empty: no key needed
    max_concurrency: int = 0            # calls in flight; 0: the number of workers
    headers: dict[str, str] = field(default_factory=dict)
    extra_body: Object = field(default_factory=dict)   # added to every request
    temperature: float | None = at_least(0, None)   # None: [llm] temperature
    api: str = one_of("openai", "litellm")   # litellm: `model` is LiteLLM's name of a model
    stream: bool = False                # ask for streams, since a gateway cuts long silent calls
    endpoints: tuple[str, ...] = ()     # a group: these share the load; no base_url
    members: tuple[Endpoint, ...] = field(default=(), metadata=BY_CODE)   # the group's endpoints
    api_key: ApiKey = field(default=ApiKey(""), repr=False, metadata=BY_CODE)


@dataclass(frozen=True)
class ModelSpec:
    """Hold a model with its role, its endpoint and the limits of its requests."""

    role: str               # "king", "challenger"; a judge's name
    model: str
    endpoint: Endpoint
    temperature: float
    max_tokens: int
    max_prompt_tokens: int
    format_retries: int = 0
    is_judge: bool = False
    is_leak_judge: bool = False
    one_call: bool = False  # a reply has one tool call, even if earlier turns have several
    protocol: str = AUTO    # one of PROTOCOLS; AUTO for roles without tools

    @property
    def usual_share(self) -> float:
        """Return the average length of a reply as a share of max_tokens."""
        if self.model in THINKING_MODELS:
            return THINKING_SHARE
        of_judge = LEAK_SHARE if self.is_leak_judge else VERDICT_SHARE
        return of_judge if self.is_judge else TURN_SHARE

    def identity(self) -> dict:
        """Return the settings that an answer depends on, for the ledger's `settings`."""
        limits = {key: getattr(self, key) for key in MODEL_LIMITS}
        extra = {"extra_body": self.endpoint.extra_body} if self.endpoint.extra_body else {}
        extra |= {"calls": "one"} if self.one_call else {}
        extra |= {"protocol": self.protocol} if self.protocol != AUTO else {}
        return {"model": self.model, **limits, **extra}


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
    bug: BugSettings = BugSettings()
    run: RunSettings = RunSettings()
    pr_tasks: PrTasksSettings = PrTasksSettings()
    issue: IssueSettings = IssueSettings()
    nl2repo: Nl2RepoSettings = Nl2RepoSettings()
    dp: DpSettings = DpSettings()
    dp_idea: RoleSettings = RoleSettings()   # dp_…: the agents of build_dp.py
    dp_builder: RoleSettings = RoleSettings()
    dp_review: RoleSettings = RoleSettings()
    solve: SolveSettings = SolveSettings()
    audit: AuditSettings = AuditSettings()
    sandbox: SandboxSettings = SandboxSettings()
    exclude: Exclude = Exclude()
    prices: dict[str, Price] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    root: Path = Path(".")
    budget_usd: float | None = None       # for the root's whole life
    budget_run_usd: float | None = None   # for this run, or its shard
    shard: tuple[int, int] | None = None   # (i, n): this run has 1/n of the budget
    hf_token: ApiKey = field(default=ApiKey(""), repr=False)
    github_token: ApiKey = field(default=ApiKey(""), repr=False)
    given: frozenset[str] = frozenset()   # settings that were given explicitly: "llm.workers", …

    def model_spec(self, role: str) -> ModelSpec:
        """Return the model of a role ("king", "challenger", "agent", "issue", "audit", "solve" or
        "dp_…"). Values that its section lacks come from [agent] (for "solve" and "dp_…"), then from
        the endpoint's table, then from [llm]."""
        section = getattr(self, role)
        if role == "solve" or role.startswith("dp_"):
            own = {one.name: value for one in fields(RoleSettings)
                   if (value := getattr(section, one.name)) is not None}
            if section.endpoint:
                own = {"extra_body": None, **own}
            section = replace(self.agent, **own)
        one_call = role in ("king", "challenger") and self.prompt.calls == "one"
        protocol = getattr(section, "protocol", AUTO) or self.llm.protocol
        spec = self._spec(role, section, vars(self.llm), one_call=one_call, protocol=protocol,
                          format_retries=FORMAT_RETRIES.get(role, 0))
        if spec.max_tokens == LLM.max_tokens and spec.model in THINKING_MODELS:
            return replace(spec, max_tokens=THINKING_MAX_TOKENS)
        return spec

    def judges(self) -> list[ModelSpec]:
        """Return the panel in the order of [judge] models. Entries with the embedded model are one
        judge."""
        return self._panel(self.judge.models, "[judge] models")

    def leak_judges(self) -> list[ModelSpec]:
        """Return the leak judges: [leak] models, or the panel's first model, without the embedded
        model, which is too small for this."""
        models = self.judge.models[:1] if self.leak.models is None else self.leak.models
        return [replace(spec, max_tokens=max(spec.max_tokens, LEAK_MAX_TOKENS),
                        format_retries=1, is_leak_judge=True)
                for spec in self._panel(models, "[leak] models")
                if spec.endpoint.name != "embedded"]

    def _panel(self, models: tuple[str | Judge, ...], where: str) -> list[ModelSpec]:
        panel = {}
        for entry in models:
            spec = self._judge_spec(Judge(model=entry) if isinstance(entry, str) else entry)
            if spec.role in panel and spec.endpoint.name != "embedded":
                raise Trouble(f"names {spec.role!r} twice.", where,
                              "Give one of them a `name` of its own.")
            panel[spec.role] = spec
        return list(panel.values())

    def _judge_spec(self, judge: Judge) -> ModelSpec:
        if self._endpoint(judge.endpoint).name == "embedded":
            judge = replace(judge, model=EMBEDDED_MODEL, max_tokens=None)
        thinks = judge.model in THINKING_MODELS
        general = {
            "temperature": JUDGE_TEMPERATURE,
            "max_tokens": THINKING_MAX_TOKENS if thinks else SCORE_MAX_TOKENS,
            "max_prompt_tokens": self.llm.max_prompt_tokens}
        return self._spec(judge.name or judge.model, judge, general, is_judge=True)

    def _spec(self, role: str, own: RoleSettings, general: dict, **further) -> ModelSpec:
        """Return a role's model; its own limits override the general ones."""
        endpoint = self._endpoint(own.endpoint)
        model = own.model or self.llm.model
        if endpoint.name == "embedded":
            model = EMBEDDED_MODEL
        limits = {key: general[key] for key in MODEL_LIMITS}
        for layer in (endpoint, own):
            limits |= {key: value for key in MODEL_LIMITS
                       if (value := getattr(layer, key, None)) is not None}
        endpoint = replace(
            endpoint, temperature=limits["temperature"],
            extra_body={**endpoint.extra_body, **(own.extra_body or {})})
        if limits["temperature"] == NOT_SENT:
            limits["temperature"] = USUAL_TEMPERATURE
        return ModelSpec(role, model, endpoint, **limits, **further)

    def _endpoint(self, name: str | None) -> Endpoint:
        """Return an endpoint. A group gets its members, and their addresses as base_url. Raise
        Trouble if a name is unknown, or an endpoint cannot be a member."""
        group = self._named(name or ("base_url" if self.llm.base_url else self.llm.endpoint))
        members = [*map(self._named, group.endpoints)]
        where = f"[endpoints.{group.name}] endpoints"
        for one in members:
            if one.endpoints or {group.api, one.api} != {"openai"}:
                raise Trouble(f'{one.name} is a group, or has another api than "openai".', where)
        if members and (own := [key for key in OF_MEMBERS if getattr(group, key)]):
            raise Trouble(f"has {', '.join(own)}, which its members have.", where)
        base_url = ", ".join(one.base_url for one in members) or group.base_url
        return replace(group, members=tuple(members), base_url=base_url)

    def _named(self, name: str) -> Endpoint:
        if name in self.endpoints:
            return self.endpoints[name]
        raise Trouble(f"no endpoint is called {name!r}.",
                      todo=did_you_mean(name, self.endpoints, "[endpoints.{}]"))
