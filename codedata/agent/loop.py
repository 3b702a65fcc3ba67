"""Run an agent: a model reasons and acts in turn (ReAct) until it submits an answer or a limit is reached.

    agent = Agent(system_prompt="…", tools=[ToolBashExecutor()], llm_server=llm_server, sandbox=sandbox)
    result = agent.run("…")          # .status, .answer, .messages, .usage, …

Within `counting(Calls(…))` (codedata/llm/calls.py) every finished reply is kept. A re-run after a kill repeats the
actions in a new sandbox and reads the kept replies as long as its requests are the same; after an observation that
differs, the model is asked again. So no observation may contain a time or a generated address.
"""
from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from codedata.agent.files import write
from codedata.agent.history import History
from codedata.agent.protocols import Action, AgentTurn, ModelReply, Native, Text, one_command
from codedata.agent.submit import submit
from codedata.agent.tools import Failed, Stop, Tool
from codedata.errors import HttpTrouble, ItemFailed, Trouble
from codedata.layouts import to_json, write_atomic
from codedata.records import storable
from codedata.sandbox import Sandbox
from codedata.texts import text_of

RUNNING, SUCCESS, MAX_ITERATION, TOOL_STOP, ERROR = "running", "success", "max_iteration", "tool_stop", "error"
EMPTY_REPLIES = 2       # first replies without a tool call, after which the text protocol is used
SAME_FAILURES = 3        # in a row of one action: the model is advised, the action not run again
MALFORMED_REPLIES = 8    # in a row: the run ends
SAVED_IN = "~/agent_output"   # in the sandbox: whole texts of shortened observations
REFUSES_TOOLS = re.compile("tool|function", re.IGNORECASE)
TOO_LONG = re.compile(r"context|too long|too many tokens|maximum.{0,30}(?:tokens|length)", re.IGNORECASE)
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")   # terminal colours and titles
OVERWRITTEN = re.compile(r"^[^\n]*\r(?!\n|$)", re.MULTILINE)                        # overwritten progress bars


class LLMServer(Protocol):
    """Define the model interface of an agent; codedata.llm.Client and LLMServerHTTP implement it."""

    def ask(self, messages: list[dict], *, tools: list[dict] | None = None) -> ModelReply:
        """Return one reply; raise HttpTrouble where the endpoint refuses, or another ItemFailed."""


@dataclass(frozen=True)
class AgentResult:
    """Hold the outcome, the messages and the usage of a run.

    status          | the run ended because
    ----------------|-------------------------------------------------------------------------------------
    success         | the model submitted `answer`: by `submit`, or by the submit command of the text protocol
    max_iteration   | the model gave max_iterations replies without submitting an answer
    tool_stop       | a tool ended it (`answer` is its text), or max_seconds, max_tokens or max_usd was reached
    error           | it could not go on: a request failed, the sandbox died, or replies stayed malformed

    `error` gives details in all cases but success. A trajectory on disk may also have status `running`: its run goes
    on, or was killed.
    """

    status: str
    answer: str
    error: str
    iterations: int          # replies of the model
    malformed: int           # invalid replies and tool calls
    protocol: str            # native | text
    messages: list[dict]     # whole, in the API's form
    tools: list[dict]        # the schemas sent with each request
    left_out: list[dict]     # bodies that later requests omit: message, from_iteration, placeholder
    usage: dict              # calls, tokens_in, tokens_out, cost_usd (null: not known), seconds

    def to_dict(self) -> dict:
        """Return the result as a dict for JSON."""
        return asdict(self)


class Agent:
    """Run a model with tools that act in a sandbox.

    tools               functions, or objects such as ToolBashExecutor() (codedata/agent/tools.py); `submit` is added
    max_iterations      limits the replies of the model
    max_seconds         limits the run time, max_tokens all requests and replies, max_usd the cost; 0: no limit. Each
                        is checked before a request, so a run exceeds it by at most one reply and its actions
    max_context_tokens  limits a request, estimated at 3 bytes a token; above it, old observations are left out
    max_output_chars    limits an observation; a longer one loses its middle, and ~/agent_output/ has the whole text
    protocol            native | text | auto: native, or text where the endpoint refuses tools or the model calls none
    trajectory          names a JSON file with the result so far, written after every step
    """

    def __init__(self, system_prompt: str, tools: Sequence[Callable | Tool], llm_server: LLMServer, sandbox: Sandbox, *,
                 max_iterations: int = 100, max_seconds: float = 0, max_tokens: int = 0, max_usd: float = 0,
                 max_context_tokens: int = 100_000, max_output_chars: int = 16_000, protocol: str = "auto",
                 trajectory: Path | None = None):
        given = [Tool.of(tool) for tool in tools]
        self.tools = {tool.name: tool for tool in given}
        if len(self.tools) < len(given):
            raise Trouble("has two tools of one name.", f"Agent(tools): {', '.join(tool.name for tool in given)}")
        self.tools.setdefault("submit", Tool.of(submit))
        if protocol not in ("auto", "native", "text"):
            raise Trouble(f"is {protocol!r}; it may be auto, native, text.", "Agent(protocol)")
        if protocol == "text" and "bash" not in self.tools:
            raise Trouble("acts by bash alone.", "Agent(protocol='text')", "Give it ToolBashExecutor().")
        self.system_prompt, self.llm_server, self.sandbox = system_prompt, llm_server, sandbox
        self.max_iterations, self.max_context_tokens = max_iterations, max_context_tokens
        self.limits = {"max_seconds": max_seconds, "max_tokens": max_tokens, "max_usd": max_usd}
        self.max_output_chars, self.protocol, self.trajectory = max_output_chars, protocol, trajectory

    def run(self, task: str) -> AgentResult:
        """Work on a task and return the result; raise RunStopped on a refused key, the budget or Ctrl-C."""
        run = _Run(self, task)
        try:
            while run.goes_on():
                turn = run.think()
                for action in turn.actions:
                    outcome = run.act(action)
                    if isinstance(outcome, Stop):
                        run.end(SUCCESS if outcome.is_success else TOOL_STOP, outcome.answer,
                                "" if outcome.is_success else f"the tool {action.tool} asked to stop")
                        break
                    run.observe(action, outcome)
                run.save()
        except ItemFailed as e:   # a request failed for good, or SandboxDied
            run.end(ERROR, error=str(e))
        run.save()
        return run.result()


class _Run:
    """Hold the state of one run of an agent."""

    def __init__(self, agent: Agent, task: str):
        self.agent, self.task, self.started, self.ended = agent, task, time.monotonic(), 0.0
        self.status, self.answer, self.error = RUNNING, "", ""
        self.iterations = self.malformed = self.malformed_in_row = self.n_actions = 0
        self.calls: list[dict] = []
        self.failing, self.n_failures = "", 0
        self.saved: dict[str, str] = {}   # name → place
        self._begin((Text if agent.protocol == "text" else Native)(agent.tools))

    def _begin(self, protocol: Native | Text) -> None:
        self.protocol = protocol
        self.history = History(storable(protocol.opening(self.agent.system_prompt, self.task)))

    def goes_on(self) -> bool:
        """Return whether there is another step to take; end the run where a limit is reached."""
        if self.status != RUNNING:
            return False
        for name, limit in self.agent.limits.items():
            used = self._used()[name]
            if limit and used is None:
                self.end(ERROR, error=f"{name} cannot be kept: {self.calls[-1]['model']} has no known "
                         f"{'price' if name == 'max_usd' else 'usage'}")
            elif limit and used >= limit:
                self.end(TOOL_STOP, error=f"{name} is reached: {round(used, 6):,} of {limit:,}")
        if self.malformed_in_row >= MALFORMED_REPLIES:
            self.end(ERROR, error=f"{self.malformed_in_row} malformed replies in a row")
        if self.status == RUNNING and self.iterations >= self.agent.max_iterations:
            self.end(MAX_ITERATION, error=f"{self.iterations} replies, and no answer")
        return self.status == RUNNING

    def think(self) -> AgentTurn:
        """Append the model's next turn to the history and return it."""
        can_fall_back = self.agent.protocol == "auto" and self.protocol.name == "native" and "bash" in self.agent.tools
        if can_fall_back and not self.n_actions and self.iterations >= EMPTY_REPLIES:
            self._begin(Text(self.agent.tools))
        reply = self._ask(can_fall_back)
        self.iterations += 1
        self.calls.append(reply.call)
        turn = self.protocol.read(reply)
        if can_fall_back and turn.problem and not self.n_actions and one_command(turn.message["content"])[0]:
            self._begin(Text(self.agent.tools))   # the reply already follows the text protocol
            turn = self.protocol.read(reply)
        self.n_actions += len(turn.actions)
        self.history.say(turn.message)
        faults = [fault for fault in (turn.problem, *(action.problem for action in turn.actions)) if fault]
        self.malformed += len(faults)
        self.malformed_in_row = 0 if any(not action.problem for action in turn.actions) else self.malformed_in_row + 1
        if turn.problem:
            self.history.say({"role": "user", "content": turn.problem})
        return turn

    def _ask(self, can_fall_back: bool) -> ModelReply:
        """Return a reply to the history; shorten it or switch to text where the endpoint requires that."""
        if self.history.size() > self.agent.max_context_tokens:
            self.history.shorten(self.agent.max_context_tokens, self.iterations + 1, self._save_text)
        while True:
            try:
                return self.agent.llm_server.ask(self.history.request(), tools=list(self.protocol.schemas) or None)
            except HttpTrouble as e:
                if e.status in (400, 413, 422) and TOO_LONG.search(e.what):
                    if not self.history.shorten(self.history.size() // 2, self.iterations + 1, self._save_text):
                        raise
                elif can_fall_back and not self.calls and e.status and REFUSES_TOOLS.search(e.what):
                    self._begin(Text(self.agent.tools))
                    can_fall_back = False
                else:
                    raise

    def act(self, action: Action) -> str | Stop:
        """Return the tool's result; do not run an action again after SAME_FAILURES failures in a row."""
        if action.problem:
            return Failed(action.problem)
        what = json.dumps([action.tool, action.arguments], sort_keys=True)
        advice = text_of("codedata.agent", "repeated.md").strip().replace("{n}", str(SAME_FAILURES))
        if what != self.failing:
            self.failing, self.n_failures = what, 0
        if self.n_failures >= SAME_FAILURES:
            return Failed(advice)
        outcome = self.agent.tools[action.tool](self.agent.sandbox, action.arguments)
        if isinstance(outcome, Stop) and action.tool == "bash":
            outcome = self._ending(outcome)
        self.n_failures = self.n_failures + 1 if isinstance(outcome, Failed) else 0
        return outcome if self.n_failures < SAME_FAILURES else Failed(f"{outcome}\n\n{advice}")

    def _ending(self, stop: Stop) -> str | Stop:
        """Return the ending tool's result where a command printed the end: `submit` may refuse the answer."""
        name, argument = ("submit", "answer") if stop.is_success else ("stop", "reason")
        tool, given = self.agent.tools.get(name), {argument: stop.answer}
        return tool(self.agent.sandbox, given) if tool and not tool.problem(given) else stop

    def observe(self, action: Action, outcome: Any) -> None:
        """Append an action's result to the history, cut to max_output_chars."""
        text, name = plain(str(outcome)), f"output_{len(self.history.messages)}.txt"
        if len(text) > (most := self.agent.max_output_chars):
            place = self._save_text(name, text)
            text = (f"{text[:most // 2]}\n[… {len(text) - most:,} characters are left out here; the whole text is in "
                    f"{place} …]\n{text[-(most // 2):]}")
        self.history.observe(self.protocol.observation(action, text), name)

    def end(self, status: str, answer: str = "", error: str = "") -> None:
        """End the run with a status, unless it has ended already."""
        if self.status == RUNNING:
            self.status, self.answer, self.error = status, storable(answer), storable(error)
            self.ended = time.monotonic()

    def save(self) -> None:
        """Write the trajectory file, if one is set."""
        if self.agent.trajectory:
            write_atomic(Path(self.agent.trajectory), to_json(self.result().to_dict()))

    def result(self) -> AgentResult:
        """Return the result so far."""
        return AgentResult(self.status, self.answer, self.error, self.iterations, self.malformed, self.protocol.name,
                           self.history.messages, list(self.protocol.schemas),
                           [asdict(left_out) for left_out in self.history.left_out.values()], self._usage())

    def _usage(self) -> dict:
        sums = {key: _sum(self.calls, key) for key in ("tokens_in", "tokens_out", "cost_usd")}
        return {"calls": len(self.calls), **sums, "seconds": round((self.ended or time.monotonic()) - self.started, 3)}

    def _used(self) -> dict:
        usage = self._usage()
        tokens = (usage["tokens_in"], usage["tokens_out"])
        return {"max_seconds": usage["seconds"], "max_tokens": None if None in tokens else sum(tokens),
                "max_usd": usage["cost_usd"]}

    def _save_text(self, name: str, text: str) -> str:
        """Save a text in the sandbox and return its path; a name that is saved already is not overwritten."""
        if name not in self.saved:
            place = f"{SAVED_IN}/{name}"
            problem = write(self.agent.sandbox, place, text.encode())
            self.saved[name] = f"{place} (it is not: {problem})" if problem else place
        return self.saved[name]


def plain(text: str) -> str:
    """Return terminal output as it is displayed, without colours and overwritten progress bars."""
    return storable(OVERWRITTEN.sub("", CONTROL.sub("", text)))


def _sum(calls: list[dict], key: str) -> float | None:
    values = [call.get(key) for call in calls]
    return None if None in values else sum(values)
