"""codedata makes training data for coding agents: scripts over directories, and the craft they
share.
"""
from importlib import import_module

__version__ = "0.1.0"
PLACES = {"Agent": "codedata.agent", "AgentResult": "codedata.agent",
          "ToolBashExecutor": "codedata.agent", "ToolRunTests": "codedata.agent",
          "LLMServerHTTP": "codedata.llm", "SCRIPT_BASH_FUNC": "codedata.sandbox",
          "SandboxLocal": "codedata.sandbox.local", "SandboxDocker": "codedata.sandbox.docker",
          "SandboxK8s": "codedata.sandbox.kubernetes"}
__all__ = [*PLACES]


def __getattr__(name: str):
    """Import what is offered here when it is asked for, so that a script waits for nothing that it
    does not use.
    """
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(PLACES[name]), name)
