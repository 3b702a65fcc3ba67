"""Read the settings from flags, environment, .env and chain.toml, with each value's origin.

Flag > environment > .env > chain.toml > the default in settings.py. chain.toml and .env are looked
for in --root, then in the current folder; only the first is read. API keys come from the
environment, .env or --llm-auth-token, not from chain.toml. An ApiKey is never printed.

A root may be untrusted. So a key from the environment is not sent if a file in the root names the
address, the proxy or the CA bundle. There are two exceptions: the file is given with --config, or
the root is the scripts' folder. A file in the root may also name the address if the environment
names the same address for this key, or if OPENAI_API_KEY goes to OpenAI.
"""
from __future__ import annotations

import os
import re
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from importlib import import_module
from io import StringIO
from itertools import filterfalse
from pathlib import Path
from types import ModuleType

from dotenv import dotenv_values

from codedata.bounded import check_links, read_bounded
from codedata.errors import Trouble
from codedata.records import DIRECTORIES, EVER_HOW, check_of
from codedata.settings import (
    EMBEDDED_MODEL,
    NOT_SENT,
    ApiKey,
    Endpoint,
    Judge,
    Price,
    RoleSettings,
    Settings,
)
from codedata.texts import did_you_mean, printable, toml_of, toml_tables

SECTIONS = {key.name: type(key.default) for key in fields(Settings) if is_dataclass(key.default)}
ENVIRONMENT = {"llm.base_url": "LLM_BASE_URL", "llm.proxy": "PIPELINE_PROXY",
               "llm.ca_bundle": "REQUESTS_CA_BUNDLE", "duel.mode": "DUEL_MODE",
               "challenger.how": "DUEL_HOW", "prompt.source": "DUEL_SOURCE",
               "pr_tasks.github_url": "GITHUB_API_URL"}
# {key: flag} of flags that set [llm] and the roles' sections; `writer` is a key of [issue]
FLAGS = {"endpoint": "llm", "base_url": "llm_base_url", "model": "model", "workers": "workers",
         "proxy": "proxy", "ca_bundle": "ca_bundle", "writer": "issue_writer"}
NO_FLAGS = {"root": ".", "config": None, "sections": (), "defaults": {}, "show_config": False,
            "budget": None, "budget_run": None, "shard": None,
            "llm": None, "llm_base_url": None, "llm_auth_token": None, "model": None}
BUILT_IN_ENDPOINTS = {
    "chutes": {"base_url": "https://llm.chutes.ai/v1", "base_url_env": "CHUTES_BASE_URL",
               "api_key_env": "CHUTES_API_KEY"},
    "base_url": {},                       # set by --llm-base-url and LLM_BASE_URL
    "embedded": {"max_concurrency": 1},   # one slot: further calls would wait inside the server
}
PRICE_LINE = ('Add under [prices] in chain.toml, in USD for a million tokens:  '
              '"{model}" = {{ in = 0.00, out = 0.00 }}')
# {variable of a key: variable of its address}: the key is sent even if a file in the root names
# this address, too
ADDRESS_OF = {"QIANFAN_BEARER_TOKEN": "LLM_BASE_URL", "OPENAI_API_KEY": "OPENAI_BASE_URL",
              "CHUTES_API_KEY": "CHUTES_BASE_URL"}
OPENAI = re.compile(r"https://(?:\w+\.)?api\.openai\.com(?::443)?(?:/|$)")
CHUTES = {"CHUTES_API_KEY", "CHUTES_BASE_URL"}   # setting either one selects that endpoint
PAIRING = {"api", "base_url", "base_url_env", "api_key_env"}   # choose an endpoint's address or key
SCRIPTS = Path(__file__).resolve().parents[1]
NO_URL = "-", ""   # (address, origin) of an unset address
UNSET = None, "default"   # (value, origin) of a setting that no layer sets
STAGE = re.compile(   # matches the names of folders that scripts write
    rf"({'|'.join((*DIRECTORIES, *EVER_HOW, 'export', 'report', 'variants'))})"
    rf"(_\d+|_({'|'.join(EVER_HOW)}))?")
MAX_SETTINGS_BYTES = 10_000_000


def load(args: Namespace) -> Settings:
    """Return the settings of one run of a script; flags missing from `args` were not given.

    With --show-config, print them and end the script. Raise Trouble for a wrong setting.
    """
    is_script = "root" in args   # a library call has no root: it uses the current folder
    args = Namespace(**{**NO_FLAGS, **vars(args)})
    if args.llm and args.llm_base_url:
        raise Trouble("--llm and --llm-base-url name two endpoints.", todo="Give one of them.")
    root = Path(args.root)
    layers = _Layers(args, *_read_toml(args, root), _environment(root), _files_of(root, args))
    sections = layers.sections()
    base_url = sections["llm"].base_url
    if layers.origin["dp.queue"].startswith(layers.of_root):
        raise Trouble("must not name a database: it would get PGPASSWORD.",
                      f"{layers.origin['dp.queue']} [dp] queue",
                      "Name that file with --config if it is yours, or give --queue.")
    if args.llm_auth_token and not base_url:
        raise Trouble("--llm-auth-token goes with --llm-base-url.",
                      todo="The key of a named endpoint is read from the environment: its "
                      "api_key_env, CHUTES_API_KEY for the default one.")
    hub = layers.origin["prompt.hub_url"]
    hf_token = layers.key("HF_TOKEN", hub) or layers.key("HUGGINGFACE_API_KEY", hub)
    settings = Settings(**sections, endpoints=layers.endpoints(base_url), prices=layers.prices(),
                        root=root, budget_usd=args.budget, shard=args.shard, hf_token=hf_token,
                        budget_run_usd=args.budget_run and (
                            args.budget_run / (args.shard or (0, 1))[1]),
                        given=frozenset(name for name, origin in layers.origin.items()
                                        if origin != "default"),
                        github_token=layers.key("GITHUB_TOKEN",
                                                layers.origin["pr_tasks.github_url"]))
    if is_script:
        check_links(root, STAGE, settings.run.linked_folders)
    if args.show_config:
        _show(settings, layers.origin)
        raise SystemExit(0)
    return settings


def check_is_root(root: Path) -> None:
    """Raise Trouble if the root has files, but neither settings nor a folder of a stage."""
    names = os.listdir(root)
    if names and not any(name == "chain.toml" or STAGE.fullmatch(name) for name in names):
        raise Trouble("is no root: no script has written there.", str(root), "Check --root.")


def _files_of(root: Path, args: Namespace) -> tuple[str, ...]:
    """Return the settings files that may have come with an untrusted root."""
    if root.resolve() == SCRIPTS:
        return ()
    names = (".env",) if args.config else (".env", "chain.toml")
    return tuple(str(root / name) for name in names)


def _environment(root: Path) -> dict[str, tuple[str, str]]:
    """Return {variable: (value, origin)} from .env (in --root, else in the current folder), then
    os.environ, which wins. Empty values are left out.
    """
    file = _first_file(root / ".env", Path(".env"))
    try:
        in_file = dotenv_values(stream=StringIO(_read(file))) if file else {}
    except UnicodeDecodeError as e:
        raise Trouble(f"is not UTF-8: {e}", str(file), "Write it again as UTF-8.") from e
    variables = {}
    for place, values in ((file, in_file), ("environment", os.environ)):
        variables |= {name: (value, f"{place} {name}") for name, value in values.items() if value}
    return variables


@dataclass
class _Layers:
    """Hold the sources of settings, and the origin of each value taken from them."""

    args: Namespace
    path: Path | None     # chain.toml
    table: dict           # the content of chain.toml
    environment: dict[str, tuple[str, str]]
    of_root: tuple[str, ...]   # settings files that may be untrusted
    origin: dict[str, str] = field(default_factory=dict)   # {"section.key": origin}

    def sections(self) -> dict:
        """Return every section of Settings by name."""
        known = [*SECTIONS, "prices", "endpoints"]
        _refuse_unknown(self.table, known, str(self.path), "section [{}]")
        values = {section: self._section_values(section) for section in SECTIONS}
        self._apply_model_flags(values)
        self._apply_openai_url(values["llm"])
        if values["judge"]["models"] == ():
            raise Trouble("is empty: a duel needs a judge.",
                          f"[judge] models ({self.origin['judge.models']})")
        return {section: cls(**values[section]) for section, cls in SECTIONS.items()}

    def _section_values(self, section: str) -> dict:
        """Return the values of a section, each from the highest layer that sets it."""
        given = self._table(section)
        keys = fields(SECTIONS[section])
        where = f"{self.path} [{section}]"
        _refuse_unknown(given, [key.name for key in keys], where, "key: {}")
        values = {}
        for key in keys:
            name = f"{section}.{key.name}"
            flag = self._flag(section, key.name)
            layers = [(getattr(self.args, flag, None), f"flag --{flag.replace('_', '-')}"),
                      self.environment.get(ENVIRONMENT.get(name), UNSET),
                      (given.get(key.name), str(self.path))]
            value, origin = next((layer for layer in layers if layer[0] is not None), UNSET)
            self.origin[name] = origin
            values[key.name] = self.args.defaults.get(name, key.default)
            if value is not None:
                values[key.name] = _checked(key, value, f"{origin} [{section}] {key.name}")
        return values

    def _flag(self, section: str, name: str) -> str:
        """Return the name of the flag that sets a field, or ""."""
        if name in FLAGS and (section == "llm" or issubclass(SECTIONS[section], RoleSettings)):
            return FLAGS[name]
        # --config names the settings file: it does not set [prompt] config
        return name if section in self.args.sections and name != "config" else ""

    def _apply_model_flags(self, values: dict) -> None:
        """Let --model, --llm and --llm-base-url override the settings of judges and roles."""
        args = self.args
        if args.model:
            values["judge"]["models"] = (args.model,)
            self.origin["judge.models"] = "flag --model"
        if not (args.llm or args.llm_base_url):
            return
        values["llm"]["base_url"] = args.llm_base_url or ""
        for section, cls in SECTIONS.items():
            if issubclass(cls, RoleSettings):
                values[section]["endpoint"] = args.llm
        for section in ("judge", "leak"):
            models = values[section]["models"]
            values[section]["models"] = models and tuple(
                judge if isinstance(judge, str) else replace(judge, endpoint=None)
                for judge in models)

    def _apply_openai_url(self, llm: dict) -> None:
        """Use OPENAI_BASE_URL as the address, unless another setting names an endpoint or an
        address, or a variable of CHUTES is set."""
        url, origin = self.environment.get("OPENAI_BASE_URL", UNSET)
        is_named = (llm["base_url"] or self.origin["llm.endpoint"] != "default"
                    or "chutes" in self._table("endpoints"))
        if url and not is_named and not self.environment.keys() & CHUTES:
            llm["base_url"], self.origin["llm.base_url"] = url, origin

    def _table(self, name: str) -> dict:
        given = self.table.get(name, {})
        if not isinstance(given, dict):
            raise Trouble(f"`{name}` is not a section.", str(self.path),
                          f"Write [{name}] on a line of its own.")
        return given

    def key(self, variable: str, *origins: str, url: str = "") -> ApiKey:
        """Return the key in an environment variable, for the address `url`. `origins` name the
        files or variables that set this address. The key is empty if the variable is unset, or if
        the key is withheld because an untrusted file names its destination."""
        value, place = self.environment.get(variable, ("", ""))
        own_url, own_place = self.environment.get(ADDRESS_OF.get(variable), NO_URL)
        is_paired = url == own_url.rstrip("/") and not own_place.startswith(self.of_root)
        if is_paired or (variable == "OPENAI_API_KEY" and OPENAI.match(url)):
            origins = ()
        origins = *origins, self.origin["llm.proxy"], self.origin["llm.ca_bundle"]
        named = next((one for one in origins if one.startswith(self.of_root)), None)
        if not value or named is None or place.startswith(self.of_root):
            return ApiKey(value)
        key = ApiKey("")
        key.withheld = (f"{variable} is set, but {named} says where it would go. If that file is "
                        "yours, name it with --config; or name the address with a flag")
        return key

    def _key_for(self, url: str, variable: str, *origins: str) -> ApiKey:
        """Return the key for an endpoint's address: the value of `variable` or, if it is unset and
        the address is OpenAI's or OPENAI_BASE_URL, the value of OPENAI_API_KEY."""
        key = self.key(variable, *origins, url=url)
        openai_url, _ = self.environment.get("OPENAI_BASE_URL", NO_URL)
        if not key and (OPENAI.match(url) or url == openai_url.rstrip("/")):
            other = self.key("OPENAI_API_KEY", *origins, url=url)
            return other if other or other.withheld else key
        return key

    def endpoints(self, base_url: str) -> dict[str, Endpoint]:
        """Return every endpoint by name, with its key; `base_url` comes from [llm] or a flag."""
        given = self._table("endpoints")
        names = {**BUILT_IN_ENDPOINTS, **given}
        endpoints = {name: self._endpoint(name, given.get(name, {})) for name in names}
        given_url = endpoints["base_url"]
        url = base_url.rstrip("/") or given_url.base_url
        origin = self.origin["llm.base_url" if base_url else "endpoints.base_url"]
        variable = "" if origin.endswith(" OPENAI_BASE_URL") else "QIANFAN_BEARER_TOKEN"
        if token := self.args.llm_auth_token:
            self.environment["--llm-auth-token"] = token, "flag"
            key = self.key("--llm-auth-token")
        else:
            key = self._key_for(url, variable, origin)
        endpoints["base_url"] = replace(given_url, base_url=url, api_key=key)
        return endpoints

    def _endpoint(self, name: str, given) -> Endpoint:
        where = f"{self.path} [endpoints.{name}]"
        values = _values(Endpoint, given, where,
                         f"Write [endpoints.{name}] and base_url below it.")
        endpoint = Endpoint(name, **{**BUILT_IN_ENDPOINTS.get(name, {}), **values})
        origin = str(self.path) if given else "default"
        base_url, origin = self.environment.get(endpoint.base_url_env, (endpoint.base_url, origin))
        self.origin[f"endpoints.{name}"] = origin
        url = base_url.rstrip("/")
        origins = [self.environment.get(endpoint.base_url_env, UNSET)[1]]
        if given.keys() & PAIRING:
            origins.append(str(self.path))
        return replace(endpoint, base_url=url,
                       api_key=self._key_for(url, endpoint.api_key_env, *origins))

    def prices(self) -> dict[str, Price]:
        """Return the prices by model, with 0 for the embedded model."""
        prices = {EMBEDDED_MODEL: Price(0.0, 0.0)}
        for model, given in self._table("prices").items():
            where = f"{self.path} [prices] {model!r}"
            prices[model] = Price(**_values(Price, given, where, PRICE_LINE.format(model=model)))
            self.origin[f"prices.{model}"] = str(self.path)
        return prices


def _values(cls, given, where: str, todo: str = "") -> dict:
    """Return {field of a class: checked value} from a table. Raise Trouble for a wrong or missing
    value.
    """
    if not isinstance(given, dict):
        raise Trouble("is not a table.", where, todo)
    keys = {key.name.rstrip("_"): key for key in fields(cls) if "by_code" not in key.metadata}
    _refuse_unknown(given, keys, where, "key: {}")
    missing = [f"`{name}`" for name, key in keys.items()
               if key.default is key.default_factory is MISSING and name not in given]
    if missing:
        raise Trouble(f"needs {' and '.join(missing)}.", where, todo)
    return {keys[name].name: _checked(keys[name], value, f"{where} {name}")
            for name, value in given.items()}


def _read_toml(args: Namespace, root: Path) -> tuple[Path | None, dict]:
    if args.config and not Path(args.config).is_file():
        raise Trouble("is not a file.", args.config,
                      "Give --config a TOML file such as chain.toml.")
    path = Path(args.config) if args.config else (
        _first_file(root / "chain.toml", Path("chain.toml")))
    if path is None:
        return None, {}
    try:
        return path, toml_tables(_read(path))
    except (ValueError, RecursionError) as e:
        raise Trouble(f"is not valid TOML: {e}", str(path),
                      "Mend that line, or comment it out.") from e


def _first_file(*paths: Path) -> Path | None:
    """Return the first path that exists and is not a folder (.env may be a virtual environment).

    _read() raises OSError for a path that is not a regular file, such as a FIFO.
    """
    return next((path for path in paths if path.exists() and not path.is_dir()), None)


def _read(path: Path) -> str:
    return read_bounded(path, MAX_SETTINGS_BYTES).decode("utf-8").replace("\r\n", "\n")


def _checked(key: Field, value, where: str):
    """Return a value converted to its field's type. Raise Trouble for a wrong type or value."""
    kind = key.type.removesuffix(" | None")
    if "Judge" in kind:
        return _judges(value, where)
    if key.name == "temperature" and value == NOT_SENT:
        return value
    if kind == "float" and type(value) is int:
        value = float(value)
    if isinstance(value, tuple):   # from a flag such as --formats A,B
        value = list(value)
    if fault := check_of(kind.replace("tuple", "list").replace(", ...", ""))(value):
        raise Trouble(f"{fault.lstrip()}.", where)
    choices = key.metadata.get("choices")
    problem_of = key.metadata.get("problem")
    if choices and value not in choices:
        raise Trouble(f"is {value!r}; it may be {', '.join(choices)}.", where,
                      instead_of(f"{where} = {value}"))
    if problem_of and (problem := problem_of(value)):
        raise Trouble(problem, where)
    if choices:
        return choices[value]
    return tuple(value) if isinstance(value, list) else value


def _judges(models, where: str) -> tuple[str | Judge, ...]:
    """Return the models of a panel, each a name or a Judge."""
    if not isinstance(models, list):
        raise Trouble("is not a list.", where)
    judges = []
    for i, entry in enumerate(models):
        place = f"{where}[{i}]"
        if isinstance(entry, dict) and entry.get("model"):
            entry = Judge(**_values(Judge, entry, place))
        elif not isinstance(entry, str) or not entry:
            raise Trouble("should be a model's name, or a table with `model`.", place)
        judges.append(entry)
    return tuple(judges)


def _refuse_unknown(given: dict, known, where: str, what: str) -> None:
    for name in given:
        if name not in known:
            raise Trouble(f"has an unknown {what.format(printable(name, 200))}.", where,
                          instead_of(f"{where} {name}") or did_you_mean(name, known))


def instead_of(name: str) -> str:
    """Return a hint for a removed setting, value or flag; "" for any other."""
    removed = toml_of("codedata", "removed.toml")
    return next((f"Version 0.2.0 was the last one with it. {todo}"
                 for old, todo in removed.items() if name.endswith(old)), "")


def _show(settings: Settings, origin: dict[str, str]) -> None:
    for name, where in origin.items():
        if name == "endpoints.base_url" and not settings.llm.base_url:
            continue   # no address was given
        section, _, key = name.partition(".")
        values = getattr(settings, section)
        value = values[key] if isinstance(values, dict) else getattr(values, key)
        shown = re.sub(r"//[^/@\s]*@", "//****@", _shown(value))
        print(f"{printable(name)} = {printable(shown, 20_000)}  # {printable(where)}")
    for name, key in (("HF_TOKEN", settings.hf_token), ("GITHUB_TOKEN", settings.github_token)):
        print(f"{name} = {'****' if key else '(not set)'}")
    for name in ("budget", "budget_run"):
        amount = getattr(settings, f"{name}_usd")
        print(f"{name} = {'(none)' if amount is None else amount}")


def _shown(value) -> str:
    """Return a value as --show-config prints it."""
    if isinstance(value, Endpoint):
        return _shown_endpoint(value)
    if isinstance(value, Price):
        return f"in {value.in_}, out {value.out}, cached {value.cached}"
    if isinstance(value, dict):   # values of headers may be secrets
        return ", ".join(value)
    if isinstance(value, tuple):
        return str([_as_table(entry) if isinstance(entry, Judge) else entry for entry in value])
    return "(not set here)" if value is None else str(value)


def _shown_endpoint(endpoint: Endpoint) -> str:
    parts = [endpoint.base_url or ", ".join(endpoint.endpoints) or "-"]
    if endpoint.max_concurrency:
        parts.append(f"at most {endpoint.max_concurrency} calls")
    if endpoint.headers:
        parts.append(f"headers {', '.join(endpoint.headers)}")
    key = "none needed"
    if endpoint.api_key:
        key = "set"
    elif endpoint.api_key.withheld:
        key = "not sent"
    elif endpoint.api_key_env or endpoint.name == "base_url":
        key = "not set"
    parts.append(" ".join(filter(None, ("key", endpoint.api_key_env, key))))
    return ", ".join(parts)


def _as_table(judge: Judge) -> dict:
    return {key: [*value] if isinstance(value, dict) else value
            for key, value in vars(judge).items() if value is not None}


def ray_address(args: Namespace) -> str:
    """Return the address of the Ray cluster to run on; "" starts a local cluster. Raise Trouble if
    an address is given without --engine ray."""
    if args.engine == "ray":
        return (args.ray_address or os.environ.get("RAY_ADDRESS", "")).removeprefix("local")
    if args.ray_address:
        raise Trouble("goes with --engine ray.", "--ray-address")
    return ""


# variables that a worker's programs need; any other variable may hold a key
FOR_PROGRAMS = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_\w+|TZ|TMPDIR|VIRTUAL_ENV|LD_LIBRARY_PATH|PYTHON\w+|"
    r"DOCKER_(?:HOST|TLS_VERIFY|CERT_PATH|CONFIG|CONTEXT)|KUBECONFIG|KUBERNETES_\w+|RAY_\w+|"
    r"SSL_CERT_\w+|\w+_CA_BUNDLE|\w+_proxy", re.IGNORECASE)


def import_quietly(module: str) -> ModuleType:
    """Import a module that imports LiteLLM, without the environment's keys. LiteLLM then loads no
    price table from the network and no .env."""
    with bare_environment():
        os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_MODE="PRODUCTION")
        return import_module(module)


def quieten_ray() -> None:
    """Make Ray send no statistics and print no messages of its own. Call this before importing Ray.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".*")


@contextmanager
def bare_environment() -> Iterator[None]:
    """Within the block, keep in os.environ only variables that match FOR_PROGRAMS, so that
    processes started there get no keys."""
    full = dict(os.environ)
    for name in filterfalse(FOR_PROGRAMS.fullmatch, full):
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(full)
