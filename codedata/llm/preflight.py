"""Request an endpoint's list of models before the first paid call, and warn about problems. A
problem never ends a run, since not every endpoint has a list of models."""
from __future__ import annotations

import re
from difflib import get_close_matches

from codedata.llm.http import WRONG_SHAPE, Http, address, read_json
from codedata.settings import Endpoint, ModelSpec
from codedata.texts import printable

NO_KEY = ("no key was sent: set QIANFAN_BEARER_TOKEN, OPENAI_API_KEY or api_key_env "
          "(OPENAI_API_KEY goes only to OPENAI_BASE_URL and OpenAI's own address)")
# matches a path that does not belong at the end of a base_url
TOO_LONG = re.compile(r"/(?:(?:chat/)?completions|models)(?=\?|$)")
VERSION = re.compile(r"/v\d")
MAX_SERVED = 2_000   # maximum number of listed models to compare
MAX_CHARS = 200      # cut longer names of models, since comparing them takes long
MAX_SHOWN = 8        # most similar names to show


def warning(http: Http, spec: ModelSpec, headers: dict) -> str:
    """Send one GET. Return "", or the problem that its answer reveals: the endpoint, the key or the
    model's name is wrong."""
    endpoint = spec.endpoint
    url = address(endpoint.base_url, "models")
    status, body = http.look(url, tuple(headers.items()))
    if not status:
        return f"at {url}: {body}. Start the endpoint, or check its address"
    if status in (401, 403) and not (endpoint.api_key or endpoint.headers):
        return f"at {url}: HTTP {status}, {about_key(endpoint)}"
    served = _served(body) if status == 200 else []
    if served:
        if spec.model in served:
            return ""
        nearest = ", ".join(get_close_matches(spec.model, served, MAX_SHOWN, 0.0))
        return f"is not listed at {url}: {printable(nearest, 500)}"
    better = TOO_LONG.sub("", endpoint.base_url)
    if not VERSION.search(better) and "?" not in better:
        better += "/v1"
    is_wrong = better != endpoint.base_url and status in (200, 404, 405)
    return f"at {url}: HTTP {status}, no models. Did you mean {better}?" if is_wrong else ""


def about_key(endpoint: Endpoint) -> str:
    """Return the reason why no key is sent to an endpoint, and the remedy."""
    withheld = endpoint.api_key.withheld
    return f"no key was sent: {withheld}" if withheld else NO_KEY


def _served(body: bytes) -> list[str]:
    """Return the names in a list of models; [] if the body is not a list of models."""
    try:
        models = read_json(body)["data"]
        return [one["id"].removeprefix("models/")[:MAX_CHARS] for one in models[:MAX_SERVED]]
    except WRONG_SHAPE:
        return []
