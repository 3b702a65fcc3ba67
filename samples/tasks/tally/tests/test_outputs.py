"""Check the program by running it: nothing of the agent's is imported here."""
import subprocess


def tally(text: str) -> str:
    done = subprocess.run(["/usr/bin/python3", "/app/tally.py"], input=text, text=True,
                          capture_output=True, timeout=20)
    return done.stdout


def test_amounts_are_added_up_by_name():
    assert tally("ann,3\nbob,4\nann,10\n") == "ann 13\nbob 4\n"


def test_blank_lines_and_bad_amounts_are_passed_over():
    assert tally("ann,3\n\nbob,x\n  \nann,-1\n") == "ann 2\n"
