"""Define the tools that end a run. Every agent has `submit`; `stop` has to be listed."""
from codedata.agent.tools import Stop


def submit(answer: str) -> Stop:
    """Hand in the answer and end. Only once the task is done, and checked by having run something.

    answer: all that was asked for; if nothing was, a short summary of what has been done
    """
    return Stop(answer)


def stop(reason: str) -> Stop:
    """End without an answer, because the task cannot be done here.

    reason: what stands in the way, and what has been tried
    """
    return Stop(reason, is_success=False)
