"""Run an agent: a model reasons and acts in turn (ReAct) until it answers or meets a limit.

    agent = Agent("system prompt", [ToolBashExecutor()], llm_server, sandbox)
    result = agent.run("task")       # .status, .answer, .messages, .usage, …

Within `recording(ReplyLog(…))` (codedata/llm/replies.py), every finished reply is kept. A re-run
after a kill repeats the actions in a new sandbox, and uses the kept replies as long as it sends the
same requests. Differences in times do not count. Once an observation differs in anything else, the
re-run asks the model again. So no observation may contain a random name, path or port.
"""
from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import Protocol

from codedata.agent.files import write
from codedata.agent.history import History
from codedata.agent.protocols import (
    Action,
    AgentTurn,
    observation,
    one_command,
    packaged,
    read_turn,
)
from codedata.agent.submit import submit
from codedata.agent.tools import Failed, Stop, Tool
from codedata.agent.trajectory_names import put_trajectory
from codedata.conversation.turn import plain as as_texts
from codedata.errors import HttpTrouble, ItemFailed, Trouble
from codedata.llm import Reply
from codedata.llm.http import FLAGGED
from codedata.llm.replies import current_reply_log
from codedata.run.pool import trouble_of
from codedata.run.talk import begin_step, current_step
from codedata.sandbox import Sandbox, SandboxDied
from codedata.settings import PROTOCOLS, ModelSpec
from codedata.terminal import say
from codedata.texts import displayed, printable, storable

EMPTY_REPLIES = 2        # after so many first replies without an action, use the text protocol
ANSWERS_IN_PROSE = 2     # after so many answers in prose in a row, the last one is the answer
SAME_FAILURES = 3        # after so many equal failures in a row, do not run the action again
MALFORMED_REPLIES = 8    # after so many malformed replies in a row, the run ends
SAVED_IN = "~/agent_output"   # folder in the sandbox for the whole texts of shortened observations
REFUSALS = (400, 404, 422, 501)   # HTTP statuses that may refuse tools after the first reply
NAMES_TOOLS = re.compile("tool|function", re.IGNORECASE)   # matches such an endpoint's message
# causes of a run's end: the endpoint or engine failed; the sandbox died
FAILED, DIED = "failed", "died"
# HTTP statuses that may mean that the request is too long
TOO_LONG_STATUSES = (400, 413, 422)
# matches the error message for a request that is too long
TOO_LONG = re.compile(r"context|too long|too many tokens|maximum.{0,30}(?:tokens|length)",
                      re.IGNORECASE)


class LLMServer(Protocol):
    """Define the interface of an agent's model. codedata.llm's Client and LLMServerHTTP implement
    it."""

    def ask(self, messages: list[dict], *, tools: list[dict] | None = None) -> Reply:
        """Return one reply; raise HttpTrouble if the endpoint refuses, or another ItemFailed."""


@dataclass(frozen=True)
class AgentResult:
    """Hold the outcome, the messages and the usage of an agent's run.

    status          | the run ended because
    ----------------|------------------------------------------------------------------------
    success         | the model submitted `answer` (`submit`, or the submit command of the text
                    | protocol), or answered in prose: twice in a row without any action
    max_iteration   | the model gave max_iterations replies without an answer
    tool_stop       | a tool ended it (`answer` is the tool's text), or max_seconds, max_tokens or
                    | max_usd was reached
    error           | it could not go on: a request failed, the sandbox died, replies stayed
                    | malformed, or the price for max_usd or the usage for max_tokens is unknown

    `error` gives details for each status but success. A trajectory file may also have the status
    `running`, while the run goes on or after it was killed.
    """

    status: str
    answer: str
    error: str
    iterations: int          # number of the model's replies
    malformed: int           # number of invalid replies and tool calls
    protocol: str            # native | text
    # messages in the form of the chat API, not shortened. A switch to the text protocol rewrites
    # the earlier ones as texts, or leaves them out if the model called no tool
    messages: list[dict]
    tools: list[dict]        # the schemas sent with each request
    # observations that later requests omit: {message, from_iteration, placeholder}
    left_out: list[dict]
    # calls, tokens_in, tokens_out, cost_usd (null if unknown), seconds of the run, and
    # model_seconds, the part of `seconds` spent waiting for the model
    usage: dict
    handed_in: bool          # the answer was submitted; False for an answer in prose
    # cause of a run's end without an answer: a limit ("steps", "seconds", "tokens", "usd",
    # "context"), "malformed" replies, a "tool", "refused" (the endpoint refused the content),
    # FAILED, DIED
    cause: str = ""
    text_from: int = 0       # iteration before which the turns are rewritten native ones; 0: none

    def to_dict(self) -> dict:
        """Return the result as a dict for JSON."""
        return asdict(self)


@dataclass(eq=False, repr=False)
class Agent:
    """Run a model with tools that act in a sandbox.

    tools               functions, or objects such as ToolBashExecutor() (codedata/agent/tools.py);
                        `submit` is added
    max_iterations      limits the replies of the model
    max_seconds         limits the run time. This limit also ends a running command
    max_tokens          limits the sum of tokens over all requests and replies
    max_usd             limits the cost. For these three limits, 0 means no limit; they are checked
                        before each request, so a run exceeds a limit by at most one reply
    max_context_tokens  limits a request, estimated at 3 bytes a token; above it, old observations
                        are left out
    max_output_chars    limits an observation; a longer one loses its middle, and ~/agent_output/
                        has the whole text
    protocol            native | text | auto: native, or text once the endpoint refuses tools, or
                        if the model calls none; "": the setting of the model's role
    trajectory          names a JSON file with the result so far, written after every step
    """

    system_prompt: str
    tools: Sequence[Callable | Tool]
    llm_server: LLMServer
    sandbox: Sandbox
    _: KW_ONLY
    max_iterations: int = 100
    max_seconds: float = 0
    max_tokens: int = 0
    max_usd: float = 0
    max_context_tokens: int = 100_000
    max_output_chars: int = 16_000
    protocol: str = ""
    trajectory: Path | None = None

    def __post_init__(self):
        tools = [Tool.of(tool) for tool in self.tools]
        self.tool_by_name = {tool.name: tool for tool in tools}
        if len(self.tool_by_name) < len(tools):
            names = ", ".join(tool.name for tool in tools)
            raise Trouble("has two tools of one name.", f"Agent(tools): {names}")
        self.protocol = self.protocol or getattr(self.llm_server, "spec", ModelSpec).protocol
        if self.protocol not in PROTOCOLS:
            raise Trouble(f"is {self.protocol!r}; it may be {', '.join(PROTOCOLS)}.",
                          "Agent(protocol)")
        if self.protocol == "text" and "bash" not in self.tool_by_name:
            raise Trouble("needs bash as a tool.", "Agent(protocol='text')",
                          "Give it ToolBashExecutor().")
        self.tool_by_name.setdefault("submit", Tool.of(submit))

    def run(self, task: str) -> AgentResult:
        """Work on a task and return the result. Raise RunStopped for a refused key, a used-up
        budget or Ctrl-C."""
        run = _Run(self, task)
        try:
            while not run.outcome:
                run.step()
        except ItemFailed as e:   # a request failed for good, or the sandbox died
            run.end("error", error=str(e), cause=cause_of(e))
        current_step().within = ""
        return run.save()


class _Run:
    """Hold the state of one run of an agent."""

    def __init__(self, agent: Agent, task: str):
        self.agent = agent
        self.task = task
        self.tools = agent.tool_by_name
        self.started = time.monotonic()
        # (status, answer, error); None until the run ends
        self.outcome: tuple[str, str, str] | None = None
        self.handed_in = False
        self.cause = ""
        self.calls: list[dict] = []       # one for each reply
        self.malformed = 0
        self.malformed_in_row = 0         # replies without a valid action
        # the last actions, newest last, with None in place of each action that succeeded
        self.failures = deque(maxlen=SAME_FAILURES)
        self.saved: dict[int, str] = {}   # {number of a message: path of its whole text}
        self.n_rewritten = 0              # messages before the switch to the text protocol
        self.text_from = 0
        self.answered = ""                # digest of the last request
        self._begin("text" if agent.protocol == "text" else "native")

    def _begin(self, protocol: str) -> None:
        """Start the conversation. If it has already started, start again in another protocol."""
        self.protocol = protocol
        self.prose_in_row = 0
        is_text = protocol == "text"
        self.schemas = [] if is_text else [tool.schema for tool in self.tools.values()]
        prompt = self.agent.system_prompt
        if is_text:   # explain: the only tool is `bash`, and printing an end marker ends the run
            names = ["text.md", "text_stop.md"] if "stop" in self.tools else ["text.md"]
            prompt = "\n\n".join([prompt, *map(packaged, names)])
        self.history = History(storable([{"role": "system", "content": prompt},
                                         {"role": "user", "content": self.task}]))

    def _check_limits(self) -> None:
        """End the run if a limit is reached."""
        if self.malformed_in_row >= MALFORMED_REPLIES:
            self.end("error", error=f"{self.malformed_in_row} malformed replies in a row",
                     cause="malformed")
        for outcome in limits_reached(vars(self.agent), self._usage()):
            self.end(*outcome)

    def step(self) -> None:
        """Let the model take one turn (think, act, observe), and end the run if it was the last."""
        current_step().within = f"turn {len(self.calls) + 1} of at most {self.agent.max_iterations}"
        begin_step("asking the model")
        turn = self.think()
        if turn.is_prose:
            self.take_prose(turn.message["content"])
        elif turn.problem:
            self._ask_again(turn.problem)
        for action in turn.actions:
            begin_step(str(action))
            outcome = self.act(action)
            if isinstance(outcome, Stop):
                self.stop(outcome, action.tool)
                break
            self.observe(action, outcome)
        self._check_limits()
        self.save()

    def think(self) -> AgentTurn:
        """Ask the model for its next turn, append the turn to the history, count the malformed
        parts, and return the turn."""
        if self._may_fall_back() and len(self.calls) >= EMPTY_REPLIES:
            self._begin("text")
        reply = self._ask()
        self.answered = reply.request
        self.calls.append(reply.call)
        self.history.n_sent_back += reply.call.get("sent_back", 0)
        turn = read_turn(reply, self.protocol, self.tools)
        if self._may_fall_back() and turn.problem and one_command(turn.message["content"])[0]:
            self._begin("text")   # switch, since this reply already follows the text protocol
            turn = read_turn(reply, self.protocol, self.tools)
        self.history.messages.append(turn.message)
        problems = [action.problem for action in turn.actions]
        self.malformed_in_row = 0 if "" in problems else self.malformed_in_row + 1
        self.prose_in_row = self.prose_in_row + 1 if turn.is_prose else 0
        if not turn.is_prose:
            self.malformed += len([*filter(None, [turn.problem, *problems])])
        return turn

    def _may_fall_back(self, late: bool = False) -> bool:
        """Return whether the text protocol may replace the native one; with `late`, also after an
        action."""
        is_native = self.agent.protocol == "auto" and self.protocol == "native"
        return is_native and "bash" in self.tools and (late or not self.history.observations)

    def _rewrite(self) -> None:
        """Go on in the text protocol, with the earlier turns as texts."""
        turns = as_texts(self.history.messages, as_bash=True)[2:]   # without prompt and task
        self.n_rewritten, self.saved = len(self.history.messages), {}
        self.text_from = len(self.calls) + 1 if turns else 0
        self._begin("text")
        self.history.messages += turns
        self.history.observations = [*range(3, len(self.history.messages), 2)]
        self._shorten(self.agent.max_context_tokens)

    def _ask(self) -> Reply:
        """Return the model's reply to the history. Shorten the history first if it is too long."""
        self._shorten(self.agent.max_context_tokens)
        step = f"text protocol after {self.answered}"
        # an earlier, killed run was refused at this step
        if self._may_fall_back(late=True) and current_reply_log().result_of(step):
            self._rewrite()
        while True:
            try:
                return self.agent.llm_server.ask(self.history.request(),
                                                 tools=self.schemas or None)
            except HttpTrouble as e:
                if not self._adapts_to(e, step):
                    raise

    def _adapts_to(self, refusal: HttpTrouble, step: str) -> bool:
        """Adapt to a refusal: shorten the history, or switch to the text protocol and keep that
        under the name `step`. Return whether the next request differs."""
        if refusal.status in TOO_LONG_STATUSES and TOO_LONG.search(refusal.what):
            return self._shorten(self.history.size() // 2)
        is_refusal = refusal.status in REFUSALS if self.calls else refusal.status
        refuses_tools = is_refusal and NAMES_TOOLS.search(refusal.what)
        if not refuses_tools or not self._may_fall_back(late=True):
            return False
        current_reply_log().keep(step, True)
        self._rewrite()
        return True

    def _shorten(self, limit: int) -> bool:
        return self.history.shorten(limit, len(self.calls) + 1, self._save_text)

    def take_prose(self, text: str) -> None:
        """Tell the model how to submit. After ANSWERS_IN_PROSE answers in prose in a row, take the
        last one as the answer, unless the tool `submit` refuses it."""
        if self.prose_in_row < ANSWERS_IN_PROSE:
            notes = [f"{self.protocol}_prose.md"]
            if self._may_fall_back():
                notes.append("native_bash.md")
            return self._say("\n\n".join(map(packaged, notes)))
        outcome = self._ending(Stop(text))
        if isinstance(outcome, Stop):
            self.stop(outcome, "submit", handed_in=False)
        else:
            self._ask_again(storable(outcome))

    def act(self, action: Action) -> str | Stop:
        """Run an action and return its result. If the same action has failed SAME_FAILURES times in
        a row, return advice and do not run it."""
        if action.problem:
            return Failed(action.problem)
        key = (action.tool, action.arguments)
        advice = packaged("repeated.md").replace("{n}", str(SAME_FAILURES))
        if self.failures.count(key) == SAME_FAILURES:
            return Failed(advice)
        outcome = self._use(self.tools[action.tool], action.arguments)
        if isinstance(outcome, Stop) and action.tool == "bash":
            outcome = self._ending(outcome)
        self.failures.append(key if isinstance(outcome, Failed) else None)
        if self.failures.count(key) == SAME_FAILURES:
            return Failed(f"{outcome}\n\n{advice}")
        return outcome

    def _ending(self, stop: Stop) -> str | Stop:
        """Pass an answer given in prose or by bash, or a reason to stop, to the tool `submit` or
        `stop`, which may refuse it. Return the tool's result, or `stop` if no such tool takes it.
        """
        name, argument = ("submit", "answer") if stop.is_success else ("stop", "reason")
        tool = self.tools.get(name)
        arguments = {argument: stop.answer}
        if not tool or tool.problem(arguments):
            return stop
        return self._use(tool, arguments)

    def _use(self, tool: Tool, arguments: dict) -> str | Stop:
        """Run a tool and return its result. If the tool raises an exception, return a Failed with
        the message, but let RunStopped pass and raise SandboxDied if the sandbox has ended. The
        tool's timeout is cut to the rest of max_seconds."""
        asked_s = arguments.get("timeout_s") or getattr(tool.function, "timeout_s", 0)
        left_s = self.started + self.agent.max_seconds - time.monotonic()
        if self.agent.max_seconds and asked_s > left_s:
            arguments = {**arguments, "timeout_s": max(1, left_s)}
        outcomes = []
        trouble = trouble_of(lambda: outcomes.append(tool(self.agent.sandbox, arguments)), say)
        if not trouble:
            return outcomes[0]
        self.agent.sandbox.run("true")   # raise SandboxDied if the tool failed for that reason
        return Failed(printable(f"{tool.name} failed: {trouble}"))

    def observe(self, action: Action, outcome: str) -> None:
        """Append an action's result to the history. If it is longer than max_output_chars, leave
        out its middle."""
        text = plain(str(outcome))
        limit = self.agent.max_output_chars
        if len(text) > limit:
            note = (f"[… {len(text) - limit:,} characters are left out here; the whole text is in "
                    f"{self._save_text(len(self.history.messages), text)} …]")
            text = f"{text[:limit // 2]}\n{note}\n{text[-(limit // 2):]}"
        self.history.observe(observation(action, text))

    def stop(self, stop: Stop, tool: str, handed_in: bool = True) -> None:
        """End the run because a tool has returned `stop`."""
        if stop.is_success:
            self.handed_in = handed_in
            self.end("success", stop.answer)
        else:
            self.end("tool_stop", stop.answer, f"the tool {tool} asked to stop", "tool")

    def end(self, status: str, answer: str = "", error: str = "", cause: str = "") -> None:
        """End the run with a status, unless it has ended already."""
        if not self.outcome:
            self.outcome = status, storable(answer), storable(error)
            self.cause = cause

    def save(self) -> AgentResult:
        """Return the result so far, and write it to the trajectory file, if one is set."""
        result = AgentResult(
            *(self.outcome or ("running", "", "")), len(self.calls), self.malformed, self.protocol,
            self.history.messages, self.schemas, [*self.history.left_out.values()],
            self._usage(), self.handed_in, self.cause, self.text_from)
        if self.agent.trajectory:
            put_trajectory(Path(self.agent.trajectory), result.to_dict())
        return result

    def _usage(self) -> dict:
        return usage_since(self.started, self.calls)

    def _ask_again(self, problem: str) -> None:
        self._say(packaged(f"{self.protocol}_again.md").replace("{problem}", problem))

    def _say(self, text: str) -> None:
        self.history.messages.append({"role": "user", "content": text})

    def _save_text(self, index: int, text: str) -> str:
        """Save a message's whole text in the sandbox and return the file's path. Save each message
        only once."""
        if index not in self.saved:
            place = f"{SAVED_IN}/output_{self.n_rewritten + index}.txt"
            problem = write(self.agent.sandbox, place, text.encode())
            self.saved[index] = f"{place} (it is not: {problem})" if problem else place
        return self.saved[index]


def plain(text: str) -> str:
    """Return terminal output as a terminal displays it, without colours and without progress bars
    that were overwritten."""
    return storable(displayed(text))


def cause_of(failure: ItemFailed) -> str:
    """Return AgentResult.cause for a request that failed for good, or a sandbox that died."""
    if isinstance(failure, HttpTrouble):
        if failure.what.startswith(FLAGGED):
            return "refused"
        if failure.status in TOO_LONG_STATUSES and TOO_LONG.search(failure.what):
            return "context"
    return DIED if isinstance(failure, SandboxDied) else FAILED


def usage_of(calls: list[dict]) -> dict:
    """Return the number of calls, and the sums of their tokens and costs. A sum is None if the
    amount is unknown for any call."""
    return {"calls": len(calls), **{key: _total(call.get(key) for call in calls)
                                    for key in ("tokens_in", "tokens_out", "cost_usd")}}


def usage_since(started: float, calls: list[dict]) -> dict:
    """Return the usage of a run with these calls that began at `started`, a time.monotonic()."""
    return {**usage_of(calls), "seconds": round(time.monotonic() - started, 3),
            "model_seconds": round(sum(call.get("seconds", 0) for call in calls), 3)}


def limits_reached(limits: dict, usage: dict) -> Iterator[tuple[str, str, str, str]]:
    """Yield (status, "", error, cause) for each limit that is reached, or that cannot be checked
    because the usage or price is unknown. The keys of `limits` are named like Agent's fields."""
    tokens = _total([usage["tokens_in"], usage["tokens_out"]])
    for name, used in (("max_seconds", usage["seconds"]), ("max_tokens", tokens),
                       ("max_usd", usage["cost_usd"])):
        limit = limits.get(name)
        if limit and used is None:
            unknown = "price" if name == "max_usd" else "usage"
            yield "error", "", f"{name} cannot be kept: the model has no known {unknown}", FAILED
        elif limit and used >= limit:
            error = f"{name} is reached: {round(used, 6):,} of {limit:,}"
            yield "tool_stop", "", error, name.removeprefix("max_")
    if usage["calls"] >= limits["max_iterations"]:
        yield "max_iteration", "", f"{usage['calls']} replies, and no answer", "steps"


def _total(values: Iterable[float | None]) -> float | None:
    """Return the sum of the values to 9 digits, or None if one of them is unknown."""
    known = list(values)
    return None if None in known else round(sum(known), 9)
