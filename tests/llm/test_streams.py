"""Test replies that come as streams of events."""
import json
from dataclasses import replace

import pytest
from conftest import item_calls, settings_for
from fake_llm import USAGE, Status, streamed
from line_tables import rows

from codedata.llm import Models
from codedata.llm.streams import completion_of

WHOLE = {"choices": [{"message": {"content": "THOUGHT: I look.\n\n```bash\nls\n```"}}],
         "usage": USAGE}
ASK = [{"role": "user", "content": "p" * 300}]


def stream(*deltas: dict, end: str = '"stop"') -> bytes:
    """Return a stream of these deltas."""
    lines = [json.dumps({"choices": [{"index": 0, "delta": delta}]}) for delta in deltas]
    return "".join(f"data: {line}\r\n\r\n" for line in [
        *lines, f'{{"choices": [{{"delta": {{}}, "finish_reason": {end}}}]}}']).encode()


# pieces of calls (index, id, name, arguments; "-" is none) | calls in the whole reply
@pytest.mark.parametrize("pieces, calls", rows("""
# OpenAI: the name first, then the arguments in parts
0 a ls - ; 0 - - {"x" ; 0 - - :1}                     | a ls {"x":1}
0 a ls {} ; 1 b pwd {"x" ; 1 - - :2}                  | a ls {} ; b pwd {"x":2}
# the name and the id in each piece
0 a ls {"x" ; 0 a ls :1}                              | a ls {"x":1}
# Gemini: whole calls, all with index 0; with ids and without
0 a ls {} ; 0 b pwd {}                                | a ls {} ; b pwd {}
0 - ls {} ; 0 - ls {"x":1}                            | - ls {} ; - ls {"x":1}
"""))
def test_the_pieces_of_calls_are_put_together(pieces, calls):
    deltas = []
    for piece in pieces.split(" ; "):
        index, id, name, arguments = (None if one == "-" else one for one in piece.split(" "))
        deltas.append({"tool_calls": [{"index": int(index), "id": id, "function": {
            "name": name, "arguments": arguments}}]})
    answer, is_whole = completion_of(stream(*deltas))
    found = answer["choices"][0]["message"]["tool_calls"]
    assert is_whole and [[one["id"], *one["function"].values()] for one in found] == [
        [part.replace("-", "") for part in one.split(" ")] for one in calls.split(" ; ")]


def test_texts_are_joined_and_comments_and_an_open_end_noted():
    data = b": ping\n\n" + stream({"content": "I "}, {"content": "look.", "reasoning": "why"})
    answer, is_whole = completion_of(data)
    assert is_whole and answer["choices"] == [{"message": {
        "content": "I look.", "reasoning": "why", "tool_calls": []}, "finish_reason": "stop"}]
    for cut in (stream({"content": "I"}, end="null"), data[:-30], b""):
        assert not completion_of(cut)[1]


def test_an_endpoint_set_to_stream_is_asked_so_and_replies_kept_before_are_used(
        tmp_path, fake_llm, capsys):
    fake_llm.always(lambda request: streamed(WHOLE) if request.body.get("stream") else WHOLE)
    for is_set in (False, True):
        settings = settings_for(fake_llm)
        endpoint = replace(settings.endpoints["base_url"], stream=is_set)
        settings = replace(settings, endpoints={"base_url": endpoint})
        with Models(settings) as models, item_calls(tmp_path):
            client = models.client("king")
            assert client.ask(ASK).text == WHOLE["choices"][0]["message"]["content"]
            client.ask([{"role": "user", "content": str(is_set)}])
    asked = [one.body for one in fake_llm.requests]
    assert ["stream" in one for one in asked] == [False, False, True]
    assert asked[2]["stream_options"] == {"include_usage": True}
    assert "stream" not in capsys.readouterr().err


@pytest.mark.parametrize("cut", [
    streamed(WHOLE, ends=False),
    Status(200, streamed(WHOLE).body[:900], {"Content-Type": "text/event-stream",
                                             "Content-Length": "99999"})])
def test_a_stream_that_breaks_off_is_one_attempt_with_an_estimated_cost(tmp_path, fake_llm, cut):
    fake_llm.script(cut, streamed(WHOLE))
    with Models(settings_for(fake_llm, call_timeout_s=2.0)) as models, item_calls(tmp_path) as log:
        assert models.client("king").ask(ASK).call["tokens_out"] == 20
    first, second = log.unbilled
    assert first["estimated"] and first["tokens_in"] > 90 and first["tokens_out"] > 5
    assert "estimated" not in second and fake_llm.n_requests == 2
