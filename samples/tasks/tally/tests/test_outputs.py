"""Check the program by running it: nothing of the agent's is imported here."""
import random
import subprocess


def tally(text: str) -> str:
    done = subprocess.run(["/usr/bin/python3", "/app/tally.py"], input=text.encode(),
                          capture_output=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def test_amounts_are_added_up_by_name():
    amounts = [random.randrange(-10**6, 10**6) for _ in range(40)]   # others at each run
    text = "".join(f"{'ab'[k % 2]},{amount}\n" for k, amount in enumerate(amounts))
    assert tally(text) == f"a {sum(amounts[::2])}\nb {sum(amounts[1::2])}\n"
    assert tally("a,7\nb,9007199254740993\nc,-9\nb,100000000000000000000\na,-7\nc,-001") == (
        "a 0\nb 100009007199254740993\nc -10\n")   # the last line has no end
    assert tally("") == ""
    long = "7" * 5000
    assert tally(f"a,{long}\nb,1\na,0\n") == f"a {long}\nb 1\n"


def test_names_are_whole_and_sorted_by_code_points():
    names = ["éva", "ann lee", "Ärla", "9", "Zoe", "zoe", "10", "doe, jane", "ann", "z,o", " z",
             "a\rb", "a\u2028b", "a\x85b", "a\x0cb"]
    text = "".join(f"{name},{k}\n" for k, name in enumerate(names))
    assert tally(text) == "".join(f"{name} {names.index(name)}\n" for name in sorted(names))


def test_lines_of_another_form_are_passed_over():
    amounts = ["x", "", "1.5", "2.0", "1e3", "+3", "1_0", "0x1f", "--3", "-", "3-", " 3", "3\r", "٣", "²"]
    bad = "".join(f"{name},{amount}\n" for name in ("ann", "bob") for amount in amounts)
    assert tally(f"\n  \nann\n{bad}5\n,6\nann,-1\n\n") == "ann -1\n"   # bob has no amount
