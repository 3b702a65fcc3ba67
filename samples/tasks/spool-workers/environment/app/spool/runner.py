"""Run the command of a job."""
import subprocess


def run(command, folder):
    """Return the error of an attempt, "" for none, and its output."""
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          text=True)
    if done.returncode:
        return f"exit {done.returncode}", ""
    return "", done.stdout
