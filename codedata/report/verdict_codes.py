"""Encode the verdicts on a turn for tables and pages: for each judge, one letter per metric."""
from codedata.duel.scoring import BOTH, CHALLENGER_FIRST, combine_orders
from codedata.records import METRICS

# The code for a stored value of the challenger: it won, a draw, the rival won. A "t" is a verdict
# that changes with the order, which counts as a draw.
OF_VALUE = {1: "c", 0.5: "d", 0: "r"}
UNREAD = "-"


def verdict_codes(judges: list[dict], panel: list[str], order: str) -> tuple[str, ...]:
    """Return the codes of each judge's verdicts, from the entries in Score.judges: ("crdtc",
    "-----").
    """
    return tuple(_judge_codes([entry for entry in judges if entry["judge"] == name], order)
                 for name in panel)


def _judge_codes(entries: list[dict], order: str) -> str:
    """Return the codes of one judge, a letter for each metric."""
    counted = combine_orders(entries, order)
    if counted is None:
        return UNREAD * len(METRICS)
    codes = {metric: OF_VALUE[counted[metric]] for metric in METRICS}
    if order == BOTH:
        first, second = ({entry["order"] == CHALLENGER_FIRST: entry["scores"]
                          for entry in entries if entry["parse_ok"]}).values()
        codes |= {metric: "t" for metric in METRICS if first[metric] != second[metric]}
    return "".join(codes.values())
