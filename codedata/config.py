"""The one reader of flags, environment, .env and chain.toml: Settings, and each value's origin.

Flag > environment > .env > chain.toml > the default in settings.py. chain.toml and .env are looked
for in --root, then in the current folder; two are never merged. Keys are read from the environment
only, held in an ApiKey, never printed.
"""
from __future__ import annotations

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
from codedata.settings import (
    EMBEDDED_MODEL,
    ApiKey,
    Endpoint,
    Judge,
    Price,
    RoleSettings,
    Settings,
    checked,
)
from codedata.texts import did_you_mean, printable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SECTIONS = {key.name: type(key.default) for key in fields(Settings) if is_dataclass(key.default)}
ENVIRONMENT = {"llm.base_url": "LLM_BASE_URL", "llm.proxy": "PIPELINE_PROXY",
               "llm.ca_bundle": "REQUESTS_CA_BUNDLE", "duel.mode": "DUEL_MODE"}
FLAGS = {"llm.endpoint": "llm", "llm.base_url": "llm_base_url", "llm.model": "model",
         "llm.workers": "workers", "llm.proxy": "proxy", "llm.ca_bundle": "ca_bundle"}
FLAGS_OF_ROLES = {"endpoint": "llm", "model": "model"}   # they win over a role's own section too
BUILT_IN_ENDPOINTS = {
    "chutes": {"base_url": "https://llm.chutes.ai/v1", "base_url_env": "CHUTES_BASE_URL",
               "api_key_env": "CHUTES_API_KEY"},
    "base_url": {"api_key_env": ""},      # of --llm-base-url and LLM_BASE_URL
    "embedded": {"max_concurrency": 1},   # one slot: further calls would wait inside the server
}
NAMED_ENDPOINTS = "[endpoints.{}]"
PRICE_LINE = ('Add under [prices] in chain.toml, in USD for a million tokens:  '
              '"{model}" = {{ in = 0.00, out = 0.00 }}')
MAX_SETTINGS_BYTES = 10_000_000


def load(args: Namespace) -> Settings:
    """Return the settings of one run of a script.

    Print them and end the script if --show-config was given. Raise Trouble for what is wrong.
    """
    if args.llm and args.llm_base_url:
        raise Trouble("--llm and --llm-base-url name two endpoints.", todo="Give one of them.")
    root = Path(args.root)
    layers = _Layers(args, *_read_toml(args, root), _Environment(root))
    sections = layers.sections()
    if args.llm_auth_token and not (args.llm_base_url or sections["llm"].base_url):
        raise Trouble("--llm-auth-token goes with --llm-base-url.",
                      todo="The key of a named endpoint is read from the environment: its "
                      "api_key_env, CHUTES_API_KEY for the default one.")
    environment = layers.environment
    token = environment.get("HF_TOKEN") or environment.get("HUGGINGFACE_API_KEY")
    settings = Settings(**sections, endpoints=layers.endpoints(), prices=layers.prices(), root=root,
                        budget_usd=args.budget, hf_token=ApiKey(token or ""))
    if args.show_config:
        _show(settings, layers.origin)
        raise SystemExit(0)
    return settings


def for_endpoint(base_url: str, model: str, key: str = "") -> Settings:
    """Return settings for one model at one endpoint, for use outside a script.

    Everything else comes from the usual places.
    """
    return load(Namespace(root=".", config=None, sections=(), show_config=False, llm=None,
                          model=model, llm_base_url=base_url, llm_auth_token=key, budget=None))


class _Environment:
    """os.environ, then .env (of --root, else of the current folder)."""

    def __init__(self, root: Path):
        self.file = _first_file(root / ".env", Path(".env"))
        try:
            self.values = dotenv_values(stream=StringIO(_read(self.file))) if self.file else {}
        except UnicodeDecodeError as e:
            raise Trouble(f"is not UTF-8: {e}", str(self.file), "Write it again as UTF-8.") from e

    def get(self, name: str) -> str | None:
        """Return a variable of the environment or of .env; None if it is empty or missing."""
        return os.environ.get(name) or self.values.get(name) or None

    def origin(self, name: str) -> str:
        """Return where a variable came from, as --show-config prints it."""
        return f"environment {name}" if os.environ.get(name) else f"{self.file} {name}"


@dataclass
class _Layers:
    """The sources of settings, and the origin of each value that was taken from them."""

    args: Namespace
    path: Path | None     # of chain.toml
    table: dict           # its content
    environment: _Environment
    origin: dict[str, str] = field(default_factory=dict)   # "section.key": as --show-config says it

    def sections(self) -> dict:
        """Return every section of Settings by name."""
        _refuse_unknown(self.table, [*SECTIONS, "prices", "endpoints"], self.path, "section [{}]")
        values = {section: self._section_values(section) for section in SECTIONS}
        self._apply_model_flags(values)
        if values["judge"]["models"] == ():
            raise Trouble("is empty: a duel needs a judge.",
                          f"[judge] models ({self.origin['judge.models']})")
        return {section: cls(**values[section]) for section, cls in SECTIONS.items()}

    def _section_values(self, section: str) -> dict:
        given = self._table(section)
        keys = {key.name: key for key in fields(SECTIONS[section])}
        _refuse_unknown(given, keys, self.path, f"key in [{section}]: {{}}")
        values = {}
        for name, key in keys.items():
            full_name = f"{section}.{name}"
            value, self.origin[full_name] = self._value(section, key, given)
            where = f"[{section}] {name} ({self.origin[full_name]})"
            values[name] = checked(key, value, where)
        return values

    def _value(self, section: str, key, given: dict) -> tuple:
        """Return the value of the highest layer that has one, and its origin."""
        flag = self._flag(section, key.name)
        if flag and (value := getattr(self.args, flag, None)) is not None:
            value = tuple(value) if isinstance(value, list) else value   # a repeatable flag
            return value, f"flag --{flag.replace('_', '-')}"
        variable = ENVIRONMENT.get(f"{section}.{key.name}")
        if variable and (text := self.environment.get(variable)):
            return _typed(text, key.type, variable), self.environment.origin(variable)
        if key.name in given:
            where = f"{self.path} [{section}] {key.name}"
            return _typed(given[key.name], key.type, where), str(self.path)
        return key.default, "default"

    def _flag(self, section: str, name: str) -> str | None:
        if flag := FLAGS.get(f"{section}.{name}"):
            return flag
        if issubclass(SECTIONS[section], RoleSettings) and name in FLAGS_OF_ROLES:
            return FLAGS_OF_ROLES[name]
        return name if section in self.args.sections else None

    def _apply_model_flags(self, values: dict) -> None:
        """Let --model, --llm and --llm-base-url win over judges, roles and each other."""
        args = self.args
        if args.model:
            values["judge"]["models"] = (args.model,)
            self.origin["judge.models"] = "flag --model"
        if not (args.llm or args.llm_base_url):
            return
        values["llm"]["base_url"] = args.llm_base_url or ""
        for section, cls in SECTIONS.items():
            if issubclass(cls, RoleSettings) and not args.llm:
                values[section]["endpoint"] = None
        for section in ("judge", "leak"):
            models = values[section]["models"]
            values[section]["models"] = models and tuple(
                judge if isinstance(judge, str) else replace(judge, endpoint=None)
                for judge in models)

    def _table(self, name: str) -> dict:
        given = self.table.get(name, {})
        if not isinstance(given, dict):
            raise Trouble(f"`{name}` is not a section.", str(self.path),
                          f"Write [{name}] on a line of its own.")
        return given

    def endpoints(self) -> dict[str, Endpoint]:
        """Return every endpoint by name, with its address and key."""
        given = self._table("endpoints")
        return {name: self._endpoint(name, given.get(name, {}))
                for name in {**BUILT_IN_ENDPOINTS, **given}}

    def _endpoint(self, name: str, given) -> Endpoint:
        if not isinstance(given, dict):
            raise Trouble("is not a table.", f"{self.path} [endpoints] {name}",
                          f"Write [endpoints.{name}] and base_url below it.")
        types = {key.name: key.type for key in fields(Endpoint)}
        keys = types.keys() - {"name", "api_key"}
        _refuse_unknown(given, keys, self.path, f"key in [endpoints.{name}]: {{}}")
        for key, value in given.items():
            _typed(value, types[key], f"{self.path} [endpoints.{name}] {key}")
        endpoint = Endpoint(name=name, **{**BUILT_IN_ENDPOINTS.get(name, {}), **given})
        self.origin[f"endpoints.{name}"] = str(self.path) if given else "default"
        if endpoint.base_url_env and (url := self.environment.get(endpoint.base_url_env)):
            endpoint = replace(endpoint, base_url=url)
            self.origin[f"endpoints.{name}"] = self.environment.origin(endpoint.base_url_env)
        if name == "base_url":
            key = self.args.llm_auth_token or self.environment.get("QIANFAN_BEARER_TOKEN")
        else:
            key = self.environment.get(endpoint.api_key_env) if endpoint.api_key_env else None
        return replace(endpoint, base_url=endpoint.base_url.rstrip("/"), api_key=ApiKey(key or ""))

    def prices(self) -> dict[str, Price]:
        """Return the prices by model; the embedded model costs nothing."""
        prices = {EMBEDDED_MODEL: Price(0.0, 0.0)}
        for model, given in self._table("prices").items():
            prices[model] = self._price(model, given)
            self.origin[f"prices.{model}"] = str(self.path)
        return prices

    def _price(self, model: str, given) -> Price:
        where = f"{self.path} [prices] {model!r}"
        todo = PRICE_LINE.format(model=model)
        if not isinstance(given, dict):
            raise Trouble("is not a table.", where, todo)
        _refuse_unknown(given, ["in", "out", "cached"], self.path,
                        f"key in [prices] {model!r}: {{}}")
        if not {"in", "out"} <= given.keys():
            raise Trouble("needs `in` and `out`.", where, todo)
        for key, value in given.items():
            if type(value) not in (int, float) or not 0 <= value < inf:
                raise Trouble(f"`{key}` should be USD for a million tokens, not {value!r}.", where)
        return Price(given["in"], given["out"], given.get("cached"))


def _read_toml(args: Namespace, root: Path) -> tuple[Path | None, dict]:
    if args.config and not Path(args.config).is_file():
        raise Trouble("is not a file.", args.config,
                      "Give --config a TOML file such as chain.toml.")
    path = Path(args.config) if args.config else (
        _first_file(root / "chain.toml", Path("chain.toml")))
    if path is None:
        return None, {}
    try:
        return path, tomllib.loads(_read(path))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as e:
        raise Trouble(f"is not valid TOML: {e}", str(path),
                      "Mend that line, or comment it out.") from e


def _first_file(*paths: Path) -> Path | None:
    """Return the first path that exists and is no folder (.env may be a folder of Python's).

    A path that is no regular file, such as a FIFO, is Trouble when it is read.
    """
    return next((path for path in paths if path.exists() and not path.is_dir()), None)


def _read(path: Path) -> str:
    return read_bounded(path, MAX_SETTINGS_BYTES).decode("utf-8").replace("\r\n", "\n")


def _typed(value, kind: str, where: str):
    """Return `value` as the type that a field declares; a whole number may stand for a float."""
    kind = kind.removesuffix(" | None")
    if kind == "float" and type(value) is int:
        return float(value)
    if kind == "tuple[str | Judge, ...]" and isinstance(value, list):
        return tuple(_judge(entry, f"{where}[{i}]") for i, entry in enumerate(value))
    if kind == "tuple[str, ...]" and isinstance(value, list) and _are_texts(value):
        return tuple(value)
    if kind == "dict[str, str]" and isinstance(value, dict) and _are_texts(value.values()):
        return value
    if type(value).__name__ == kind:
        return value
    wanted = {"tuple[str, ...]": "a list of texts", "tuple[str | Judge, ...]": "a list of texts",
              "dict[str, str]": "a table of texts"}.get(kind, kind)
    raise Trouble(f"should be {wanted}, not {value!r}.", where)


def _are_texts(values) -> bool:
    return all(isinstance(value, str) for value in values)


def _judge(entry, where: str) -> str | Judge:
    if isinstance(entry, str) and entry:
        return entry
    if not isinstance(entry, dict) or not entry.get("model"):
        raise Trouble("should be a model's name, or a table with `model`.", where)
    keys = {key.name: key for key in fields(Judge)}
    _refuse_unknown(entry, keys, where, "key: {}")
    return Judge(**{name: checked(keys[name], _typed(value, keys[name].type, f"{where} {name}"),
                                  f"{where} {name}") for name, value in entry.items()})


def _refuse_unknown(given, known, path, what: str) -> None:
    for name in given:
        if name not in known:
            raise Trouble(f"has an unknown {what.format(printable(name, 200))}.", str(path),
                          did_you_mean(name, known))


def _show(settings: Settings, origin: dict[str, str]) -> None:
    for name, where in origin.items():
        if name == "endpoints.base_url" and not settings.llm.base_url:
            continue   # no address was given
        section, _, key = name.partition(".")
        value = getattr(settings, section)
        value = value[key] if isinstance(value, dict) else getattr(value, key)
        shown = re.sub(r"//[^/@\s]*@", "//****@", _shown(value, settings))
        print(f"{printable(name)} = {printable(shown, 20_000)}  # {printable(where)}")
    print(f"HF_TOKEN = {'****' if settings.hf_token else '(not set)'}")
    print(f"budget = {settings.budget_usd if settings.budget_usd is not None else '(none)'}")


def _shown(value, settings: Settings) -> str:
    """Return a value as --show-config prints it."""
    if isinstance(value, Endpoint):
        return _shown_endpoint(value, settings.llm.base_url)
    if isinstance(value, Price):
        return f"in {value.input}, out {value.output}, cached {value.cached}"
    if isinstance(value, tuple):
        return str([_as_table(entry) if isinstance(entry, Judge) else entry for entry in value])
    return "(as [llm])" if value is None else str(value)


def _shown_endpoint(endpoint: Endpoint, base_url: str) -> str:
    parts = [base_url if endpoint.name == "base_url" else endpoint.base_url or "-"]
    if endpoint.max_concurrency:
        parts.append(f"at most {endpoint.max_concurrency} calls")
    if endpoint.headers:
        parts.append(f"headers {', '.join(endpoint.headers)}")
    key = "none needed"
    if endpoint.api_key:
        key = "set"
    elif endpoint.api_key_env or endpoint.name == "base_url":
        key = "not set"
    parts.append(" ".join(["key", *([endpoint.api_key_env] if endpoint.api_key_env else []), key]))
    return ", ".join(parts)


def _as_table(judge: Judge) -> dict:
    return {key: value for key, value in vars(judge).items() if value is not None}
