"""Print the reward of a run of pytest: python3 score.py junit.xml weights.json

It lies beside the tests of every exported task, and imports the standard library alone.
"""
import json
import sys
import xml.etree.ElementTree as ElementTree


def reward(junit: str, weights: dict[str, float]) -> float:
    """Return the sum of the weights of tests all of whose cases passed, from 0 to 1.

    A test that failed, was skipped, or is not there, counts 0.
    """
    passed: dict[str, bool] = {}
    for case in ElementTree.parse(junit).iter("testcase"):
        name = case.get("name", "").partition("[")[0]
        is_good = not any(child.tag in ("failure", "error", "skipped") for child in case)
        passed[name] = passed.get(name, True) and is_good
    total = sum(weight for name, weight in weights.items() if passed.get(name))
    return round(min(1.0, max(0.0, total)), 6)


if __name__ == "__main__":
    with open(sys.argv[2], encoding="utf-8") as file:
        print(reward(sys.argv[1], json.load(file)))
