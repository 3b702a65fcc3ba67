"""codedata makes training data for coding agents. Its scripts read and write directories; this
package holds the code that they share.
"""
import sys
from importlib import import_module
from importlib.util import find_spec

if sys.version_info < (3, 10) or not all(map(find_spec, ("orjson", "rich", "duckdb"))):
    raise SystemExit(f"codedata: {sys.executable} is too old or lacks packages. Run: make setup; "
                     "then: .venv/bin/python SCRIPT.py, or make STAGE")

__version__ = "0.2.0"
PLACES = {"Agent": "codedata.agent", "AgentResult": "codedata.agent",
          "ToolBashExecutor": "codedata.agent", "LLMServerHTTP": "codedata.llm",
          "SCRIPT_BASH_FUNC": "codedata.sandbox",
          "SandboxLocal": "codedata.sandbox.local",
          "SandboxDocker": "codedata.sandbox.docker.container",
          "SandboxK8s": "codedata.sandbox.kubernetes"}
__all__ = [*PLACES]


def __getattr__(name: str):
    """Import a public name when it is first used, so that a script loads only what it needs."""
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(PLACES[name]), name)
