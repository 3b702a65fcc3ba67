"""Run the examples of documents in a sandbox like an interactive session, each one in two processes
with different hash seeds.

    python3 run_examples.py FOLDER SECONDS MAX_BYTES

FOLDER/examples.json is a list of programs. FOLDER/answers.json gets a list of [first output, second
output]; null means a run that took too long or printed too much. Only the last line of an exception
is printed. This file runs on Python 3.6 and later and imports nothing from its package.
"""
import ast
import code
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback


def main():
    """Run all examples of a folder."""
    folder, seconds, max_bytes = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    with open(folder + "/examples.json", encoding="utf-8") as file:
        examples = json.load(file)
    answers = [[printed(program, seed, seconds, max_bytes) for seed in "01"]
               for program in examples]
    with open(folder + "/answers.json", "w", encoding="utf-8") as file:
        json.dump(answers, file)


def printed(program, seed, seconds, max_bytes):
    """Return the output of an example, or None if it takes too long or prints too much."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output:
        given.write(program.encode("utf-8"))
        given.seek(0)
        process = subprocess.Popen(
            ["env", "PYTHONHASHSEED=" + seed, "PYTHONIOENCODING=utf-8", sys.executable,
             os.path.abspath(__file__)],
            stdin=given, stdout=output, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)   # and the processes that it started
            except OSError:
                pass
            process.wait()
        output.seek(0)
        text = output.read(max_bytes + 1)
        return None if len(text) > max_bytes else text.decode("utf-8", "replace")


class Session(code.InteractiveInterpreter):
    """Run statements; for an exception, print only the last line of Python's message."""

    def showtraceback(self):
        """Print the exception that the current statement has raised."""
        print_last_line(sys.exc_info()[1])


def run_one():
    """Run the program on stdin, statement by statement."""
    program = sys.stdin.buffer.read().decode("utf-8")
    sys.path[0] = os.getcwd()
    session = Session({"__name__": "__main__"})
    try:
        for statement in ast.parse(program).body:
            session.runcode(compile(ast.Interactive([statement]), "<example>", "single"))
    except SyntaxError as error:
        print_last_line(error)


def print_last_line(error):
    """Print the last line of Python's message for an exception."""
    print(traceback.format_exception_only(type(error), error)[-1].rstrip("\n"))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main()
    else:
        run_one()
