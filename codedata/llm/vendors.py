"""Read addresses and prices of LiteLLM's models without importing LiteLLM (3 s of CPU)."""
from __future__ import annotations

import importlib.util
from dataclasses import replace
from functools import cache
from pathlib import Path

import orjson

from codedata.config import import_quietly
from codedata.errors import Trouble
from codedata.settings import ModelSpec, Price

# {vendor, as LiteLLM names it: base URL} of vendors that need only a key
ADDRESSES = {
    "anthropic": "https://api.anthropic.com",
    "deepseek": "https://api.deepseek.com",
    "fireworks_ai": "https://api.fireworks.ai/inference/v1",
    "gemini": "https://generativelanguage.googleapis.com/v1beta",
    "groq": "https://api.groq.com/openai/v1",
    "mistral": "https://api.mistral.ai/v1",
    "moonshot": "https://api.moonshot.ai/v1",
    "openai": "https://api.openai.com/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "together_ai": "https://api.together.ai/v1",
    "xai": "https://api.x.ai/v1",
    "zai": "https://api.z.ai/api/paas/v4",
}
PRICES = "model_prices_and_context_window_backup.json"   # LiteLLM's file: USD for each token
NOT_INSTALLED = 'api = "litellm" needs the package litellm, which is not installed.'


def addressed(spec: ModelSpec) -> ModelSpec:
    """Return a model's spec; if its endpoint has no base URL, with the vendor's."""
    url = spec.endpoint.base_url or ADDRESSES.get(spec.model.partition("/")[0], "")
    return replace(spec, endpoint=replace(spec.endpoint, base_url=url))


def price_of(model: str) -> Price | None:
    """Return a model's price in LiteLLM's table; None if it has none or is not installed."""
    vendor, _, name = model.partition("/")
    for key in (model, name.removeprefix("responses/")):
        entry = _table().get(key, {})
        if entry.get("litellm_provider") == vendor and "output_cost_per_token" in entry:
            costs = (entry.get(f"{kind}_cost_per_token") for kind in ("input", "output"))
            cached = entry.get("cache_read_input_token_cost")
            return Price(*(round(1e6 * (cost or 0), 6) for cost in costs),
                         cached if cached is None else round(1e6 * cached, 6))
    return None


def import_converter():
    """Import LiteLLM and return codedata.llm.litellm_calls. Raise Trouble if it is not installed.
    """
    if not _folder():
        raise Trouble(NOT_INSTALLED, todo="pip install 'codedata[litellm]'")
    return import_quietly("codedata.llm.litellm_calls")


def _folder() -> Path | None:
    spec = importlib.util.find_spec("litellm")
    return Path(spec.origin).parent if spec else None


@cache
def _table() -> dict:
    folder = _folder()
    return orjson.loads((folder / PRICES).read_bytes()) if folder else {}
