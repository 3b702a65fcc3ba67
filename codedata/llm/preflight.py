"""Ask an endpoint for its models before the first paid call, and say what will go wrong. What this
finds never ends a run: not every endpoint has such a list.
"""
from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from codedata.llm.http import Http, read_json
from codedata.settings import Endpoint
from codedata.texts import printable

NO_KEY = ("no key was sent: set QIANFAN_BEARER_TOKEN, OPENAI_API_KEY or api_key_env "
          "(OPENAI_API_KEY goes to OPENAI_BASE_URL and OpenAI's own address alone)")
TOO_LONG = re.compile(r"/(?:(?:chat/)?completions|models)$")   # more than a base URL
VERSION = re.compile(r"/v\d")
MAX_SERVED = 2_000   # models of a list that are looked at
MAX_SHOWN = 8


def warnings_of(http: Http, endpoint: Endpoint, headers: dict, models: Iterable[str]) -> list[str]:
    """Return what one GET shows to be wrong with an endpoint, its key or the names of models."""
    url = f"{endpoint.base_url}/models"
    status, body = http.look(url, headers)
    if not status:
        return [f"{url}: {body}. Start the endpoint, or check its address"]
    if status in (401, 403) and not (endpoint.api_key or endpoint.headers):
        return [f"{url}: HTTP {status}, {about_key(endpoint)}"]
    served = _served(body) if status == 200 else []
    if served:
        return [f"{url} does not list {model!r}, but {_nearest(http.masked(model), served)}"
                for model in models if model not in served]
    better = TOO_LONG.sub("", endpoint.base_url)
    if not VERSION.search(better):
        better += "/v1"
    is_wrong = better != endpoint.base_url and status in (200, 404, 405)
    return [f"{url}: HTTP {status} and no models. Did you mean {better}?"] if is_wrong else []


def about_key(endpoint: Endpoint) -> str:
    """Return why no key is sent to an endpoint, and what to do."""
    withheld = endpoint.api_key.withheld
    return f"no key was sent: {withheld}" if withheld else NO_KEY


def _served(body: bytes) -> list[str]:
    """Return the names in a list of models; none where it is no such list."""
    try:
        answer = read_json(body)
        models = answer["data"] if isinstance(answer, dict) else answer
        return [one["id"].removeprefix("models/") for one in models[:MAX_SERVED]]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return []


def _nearest(model: str, served: list[str]) -> str:
    names = get_close_matches(model, served, MAX_SHOWN, 0.0)
    left = f" and {len(served) - len(names)} more" if len(served) > len(names) else ""
    return printable(", ".join(names), 500) + left
