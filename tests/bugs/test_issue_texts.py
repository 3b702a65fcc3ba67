"""Test that reports without a model are whole, and true to both runs."""
import random
from types import SimpleNamespace

from line_tables import toml_beside

from codedata.issues.issue_texts import FORMS, HOLE, more_text, report_text
from codedata.suites.replayed_scripts import Outcome

CASES = toml_beside(__file__, "issue_text_cases.toml")


def reports(kind: str, *outcomes: list) -> dict[str, str]:
    """Return a report in each form that a difference can have: its script ends with the call that
    differs, or does not."""
    texts = {}
    for last, is_last in (("-wade(3)", False), ("wade(3)", True)):
        right, wrong = (Outcome(["from heron import wade"], last, *one) for one in outcomes)
        found = SimpleNamespace(kind=kind, right=right, wrong=wrong)
        texts |= (report_text(found, random.Random(seed), CASES["known"], ("wade", is_last))
                  for seed in range(99))
        assert is_last or not any("wade gives" in text for text in texts.values())
    return texts


def test_each_kind_is_told_in_many_forms_without_a_hole_and_with_both_outcomes():
    seen = set()
    for kind, outcomes in CASES["outcomes"].items():
        nothing = FORMS["nothing"].get(kind, {})
        for form, text in reports(kind, *outcomes).items():
            title, _, body = text.partition("\n\n")
            assert "wade" in title and not HOLE.search(text) and "\n\n\n" not in text
            assert all(text in nothing or text in body for *_, text in outcomes)
            seen.add(form)
    assert seen == FORMS["forms"].keys() and len(seen) >= 30


def test_a_further_case_has_its_script_and_both_outcomes():
    right, wrong = (Outcome(["from heron import wade"], "wade(3)", *one)
                    for one in (["value", "int", "2"], ["raises", "MudError", "too deep"]))
    assert more_text(SimpleNamespace(kind="raises", right=right, wrong=wrong)) == """
Another case:

```python
from heron import wade
print(wade(3))
```

It gives

    MudError: too deep

and should give

    2
"""


def test_a_long_outcome_is_told_by_its_size_its_ends_and_what_differs():
    outcomes = (["value", "list", repr([*range(200), item, *range(300)])] for item in "ab")
    for text in reports("value", *outcomes).values():
        for part in ("2,285 characters", "[0, 1, 2", "299]", "a', 0", "b', 0"):
            assert part in text
