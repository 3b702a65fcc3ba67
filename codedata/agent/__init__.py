"""Run agents: a model works on a task in a sandbox by calling tools."""
from codedata.agent.bash import ToolBashExecutor
from codedata.agent.files import create_file, edit_file, search, view_file
from codedata.agent.react_loop import Agent, AgentResult, LLMServer
from codedata.agent.submit import stop, submit
from codedata.agent.tools import Failed, Stop, Tool
from codedata.agent.trajectory_names import new_trajectory

__all__ = ["Agent", "AgentResult", "Failed", "LLMServer", "Stop", "Tool",
           "ToolBashExecutor", "create_file", "edit_file", "new_trajectory",
           "search", "stop", "submit", "view_file"]
