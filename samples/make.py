"""Make the sample data again: run every trajectory, verify every PR, write the tables.

reads   projects.toml, projects/<name>/     small projects, each at the state its PRs start from
        prs/<instance_id>/                  pr.toml, gold.patch, test.patch
        trajectories/<n>_<instance_id>.toml thoughts and commands of an agent
writes  trajectories.json, .parquet         messages, with what the commands really printed
        prs.json, .parquet                  with the tests that were seen to fail and pass

  python samples/make.py           # all of it, about a minute
  python samples/make.py --check   # write nothing; name the rows that came out differently, exit 1

Made on Debian 12 with its packages git gcc golang-go nodejs (18.15 or later) python3
python3-pytest, and duckdb from PyPI (below Python 3.11 also tomli). Other versions of the tools
print other words, so a few observations will differ there. Commands run without any isolation, one
after another, in /tmp/testbed.
"""
import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import duckdb

try:
    import tomllib
except ModuleNotFoundError:   # Python 3.10
    import tomli as tomllib

HERE = Path(__file__).resolve().parent
TESTBED = Path("/tmp/testbed")        # a fixed path: some tools print it
HOME = Path("/tmp/testbed-home")      # its existence is also the lock against a second run
TIMEOUT_S = 60
MAX_CHARS = 10_000                    # of an observation
GROUP_ROWS = 8                        # of a Parquet row group: few, so that there are several
ENV = {
    "PATH": "/usr/bin:/bin", "HOME": str(HOME), "LANG": "C.UTF-8", "TZ": "UTC", "COLUMNS": "80",
    "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "GOPROXY": "off", "GOFLAGS": "-buildvcs=false", "GIT_CONFIG_NOSYSTEM": "1", "GIT_PAGER": "cat",
    "GIT_AUTHOR_NAME": "Sample Author", "GIT_AUTHOR_EMAIL": "author@example.org",
    "GIT_COMMITTER_NAME": "Sample Author", "GIT_COMMITTER_EMAIL": "author@example.org",
    "GIT_AUTHOR_DATE": "2019-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2019-01-01T00:00:00Z",
}

SYSTEM = """You fix issues in a repository by running shell commands, one at a time. Each answer \
holds a short thought in prose, then exactly one command:

```bash
your command
```

It runs in a new shell in /tmp/testbed, the root of the repository; you are shown its output. \
To hand in your work, run `echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT` alone."""
TASK = """This issue was opened in the repository {repo}:

{problem_statement}

Change the source so that the issue is solved. The tests need no change. Start with "THOUGHT:"."""
LEFTOVERS = shutil.ignore_patterns("__pycache__", "build", ".*_cache")   # of tests run by hand
EMPTY = "(the command printed nothing and ended with exit code {code})"
MALFORMED = "no command was run: the answer has {n} bash blocks, and must have exactly one."
SUBMIT = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
BLOCK = re.compile(r"^```bash\n(.*?)\n```", re.DOTALL | re.MULTILINE)

# language: test command, log parser, a passing and a failing line
TESTS = {
    "python": ("python3 -m pytest -rA", "pytest", r"^PASSED (\S+)", r"^(?:FAILED|ERROR) (\S+)"),
    "javascript": (
        'for f in test/*.test.js; do echo "file $f"; node --test --test-reporter=tap $f; done',
        "node-tap",
        r"^ *ok \d+ - (.+)", r"^ *not ok \d+ - (.+)"),
    "go": ("go test -count=1 -v ./...", "gotest", r"^ *--- PASS: (\S+)", r"^ *--- FAIL: (\S+)"),
    "c": ("sh tests/run.sh", "ok-lines", r"^ok (.+)", r"^not ok (.+)"),
}
TRAJECTORY_COLUMNS = {"instance_id": "VARCHAR", "repo": "VARCHAR",
                      "messages": "STRUCT(role VARCHAR, content VARCHAR)[]",
                      "trajectory_format": "VARCHAR", "exit_status": "VARCHAR",
                      "duration_sec": "DOUBLE"}
PR_COLUMNS = {"instance_id": "VARCHAR", "repo": "VARCHAR", "base_commit": "VARCHAR",
              "created_at": "BIGINT", "patch": "VARCHAR", "test_patch": "VARCHAR",
              "pr_description": "VARCHAR", "problem_statement": "VARCHAR", "language": "VARCHAR",
              "interface": "VARCHAR",
              "meta": "STRUCT(num_modified_files BIGINT, num_modified_lines BIGINT)",
              "install_config": "STRUCT(install VARCHAR, test_cmd VARCHAR, log_parser VARCHAR)",
              "image_name": "VARCHAR", "FAIL_TO_PASS": "VARCHAR[]", "PASS_TO_PASS": "VARCHAR[]",
              "license": "VARCHAR"}


def run(command):
    """Return exit code and merged output of a shell command in the testbed."""
    child = subprocess.Popen(["/bin/bash", "-c", command], cwd=TESTBED, env=ENV,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, start_new_session=True)
    try:
        output, _ = child.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        sys.exit(f"make.py: no end after {TIMEOUT_S} s: {command}")
    return child.returncode, output.decode("utf-8", "replace")


def must(command):
    code, output = run(command)
    if code:
        sys.exit(f"make.py: exit code {code}: {command}\n{output}")
    return output


def check_out(project, *patches):
    """Make a new repository of the project with the patches applied; return its base commit."""
    shutil.rmtree(TESTBED, ignore_errors=True)
    shutil.copytree(HERE / "projects" / project, TESTBED, ignore=LEFTOVERS)
    must("chmod -R u=rwX,go=rX .")   # the umask of the checkout is none of the commit's business
    must("git init -q -b main && git add -A && git commit -q -m 'State of the project'")
    for patch in patches:
        must(f"git apply {patch}")
    return must("git rev-parse HEAD").strip()


def test_status(language):
    """Return every test by name, and whether it passed; a build that fails has none."""
    command, _, good, bad = TESTS[language]
    status, folder = {}, ""
    for line in run(command)[1].splitlines():
        if line.startswith("file "):   # node names only the test, and two files may share a name
            folder = line[5:] + " > "
        for pattern, passed in ((good, True), (bad, False)):
            match = re.match(pattern, line)
            if match and not match[1].endswith(".test.js"):
                status[folder + match[1]] = passed
    return status


def make_pr(folder, projects, wrong):
    """Return the row of a PR; what is wrong with its tests is added to the list."""
    pr = tomllib.loads((folder / "pr.toml").read_text())
    project = projects[pr["project"]]
    language = project["language"]
    gold, test = folder / "gold.patch", folder / "test.patch"
    base_commit = check_out(pr["project"])
    if not all(test_status(language).values()):
        wrong.append(f"{folder.name}: tests fail in {pr['project']} as it is")
    check_out(pr["project"], test)
    before = test_status(language)
    check_out(pr["project"], test, gold)
    after = test_status(language)
    fail_to_pass = sorted(name for name in after if after[name] and not before.get(name))
    pass_to_pass = sorted(name for name in after if after[name] and before.get(name))
    failing = sorted(name for name in before.keys() | after.keys() if not after.get(name))
    if failing or not fail_to_pass or not pass_to_pass:
        wrong.append(
            f"{folder.name}: after the gold patch {failing} fail, {len(fail_to_pass)} went from "
            "failing "
            f"to passing, {len(pass_to_pass)} stayed")
    changed = re.findall(r"^[+-](?!\+\+ |-- )", gold.read_text(), re.MULTILINE)
    return {
        "instance_id": folder.name, "repo": project["repo"], "base_commit": base_commit,
        "created_at": int(pr["created_at"].timestamp() * 1000),
        "patch": gold.read_text(), "test_patch": test.read_text(),
        "pr_description": f"{pr['title']}\n\n{pr['pr_description'].strip()}",
        "problem_statement": pr["problem_statement"].strip(), "language": language,
        "interface": pr["interface"],
        "meta": {"num_modified_files": gold.read_text().count("\ndiff --git") + 1,
                 "num_modified_lines": len(changed)},
        "install_config": {"install": project["install"], "test_cmd": TESTS[language][0],
                           "log_parser": TESTS[language][1]},
        "image_name": "", "FAIL_TO_PASS": fail_to_pass, "PASS_TO_PASS": pass_to_pass,
        "license": project["license"]}


def make_trajectory(path, pr, project):
    """Return the row of a trajectory; its commands run in order, each in a shell of its own."""
    source = tomllib.loads(path.read_text())
    check_out(project)
    messages = [{"role": "system", "content": SYSTEM},
                {"role": "user", "content": TASK.format(**pr)}]
    for turn in source["turns"]:
        if "content" in turn:   # written out whole: malformed on purpose
            content = turn["content"].strip()
        else:
            content = f"{turn['thought'].strip()}\n\n```bash\n{turn['command'].strip()}\n```"
        messages.append({"role": "assistant", "content": content})
        commands = BLOCK.findall(content)
        if len(commands) == 1 and SUBMIT in commands[0]:
            break   # the last word is the agent's
        messages.append({"role": "user", "content": observe(commands)})
    exit_status = "Submitted" if messages[-1]["role"] == "assistant" else "LimitsExceeded"
    return {"instance_id": pr["instance_id"], "repo": pr["repo"], "messages": messages,
            "trajectory_format": "mini-swe-agent-1", "exit_status": exit_status,
            "duration_sec": source["duration_sec"]}


def observe(commands):
    """Return the answer to a turn: the output of its command, or why there is none."""
    if len(commands) != 1:
        return "Observation: " + MALFORMED.format(n=len(commands) or "no")
    code, output = run(commands[0])
    output = output.strip("\n") or EMPTY.format(code=code)
    if len(output) > MAX_CHARS:
        half = MAX_CHARS // 2
        output = (f"{output[:half]}\n[... {len(output) - MAX_CHARS} characters left out ...]\n"
                  f"{output[-half:]}")
    return f"Observation: {output}"


def make_rows():
    """Return both tables, and a list of what is wrong with them."""
    projects = tomllib.loads((HERE / "projects.toml").read_text())
    wrong, prs, trajectories = [], [], []
    for folder in sorted((HERE / "prs").iterdir()):
        prs.append(make_pr(folder, projects, wrong))
        print(f"  {folder.name}: {len(prs[-1]['FAIL_TO_PASS'])} to pass", file=sys.stderr)
    by_id = {pr["instance_id"]: pr for pr in prs}
    for path in sorted((HERE / "trajectories").glob("*.toml")):
        pr = by_id[path.stem.split("_", 1)[1]]
        trajectories.append(make_trajectory(path, pr, pr["repo"].split("/")[1]))
        print(f"  {path.stem}: {len(trajectories[-1]['messages'])} messages", file=sys.stderr)
    return {"prs": prs, "trajectories": trajectories}, wrong


def write_table(name, rows):
    (HERE / f"{name}.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    with duckdb.connect() as db:
        db.execute("SET threads = 1")   # more of them write row groups in no fixed order
        db.execute(f"CREATE TABLE made AS SELECT {parquet_columns(name)} FROM {rows_of_json(name)}")
        # A row group ends where a chunk does, and a chunk where a branch of the union does.
        parts = [f"(FROM made LIMIT {GROUP_ROWS} OFFSET {start})"
                 for start in range(0, len(rows), GROUP_ROWS)]
        db.execute(f"""COPY ({" UNION ALL ".join(parts)}) TO '{HERE / name}.parquet'
            (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {GROUP_ROWS})""")


def rows_of_json(name):
    columns = {"prs": PR_COLUMNS, "trajectories": TRAJECTORY_COLUMNS}[name]
    return f"read_json('{HERE / name}.json', format = 'array', columns = {columns})"


def parquet_columns(name):
    return "* REPLACE (epoch_ms(created_at) AS created_at)" if name == "prs" else "*"


def differing(name, rows):
    """Return the names of the rows that are not the same on disk, in the JSON or in the Parquet."""
    kept = json.loads((HERE / f"{name}.json").read_text())
    names = [f"{name}.json: row {n}, {new['instance_id']}" for n, new in enumerate(rows)
             if kept[n:n + 1] != [new]]
    if len(kept) > len(rows):
        names.append(f"{name}.json: {len(kept)} rows instead of {len(rows)}")
    with duckdb.connect() as db:
        left = f"SELECT {parquet_columns(name)} FROM {rows_of_json(name)}"
        right = f"SELECT * FROM '{HERE / name}.parquet'"
        if db.sql(f"({left} EXCEPT ALL {right}) UNION ALL ({right} EXCEPT ALL {left})").fetchall():
            names.append(f"{name}.parquet: other rows than {name}.json")
    return names


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true",
                        help="write nothing, compare with what is there")
    args = parser.parse_args(argv)
    missing = [tool for tool in ("git", "gcc", "go", "node", "pytest-3")
               if not shutil.which(tool, path=ENV["PATH"])]
    if missing:
        sys.exit(f"make.py: not in {ENV['PATH']}: {', '.join(missing)}\n"
                 "  apt-get install git gcc golang-go nodejs python3-pytest")
    for path in (HOME, TESTBED):
        if path.exists():
            sys.exit(
                f"make.py: {path} is there already. Remove it, unless another make.py is running.")
    HOME.mkdir()
    try:
        tables, wrong = make_rows()
    finally:
        shutil.rmtree(TESTBED, ignore_errors=True)
        shutil.rmtree(HOME)
    for name, rows in tables.items():
        if args.check:
            wrong += differing(name, rows)
        else:
            write_table(name, rows)
    for line in wrong:
        print(f"make.py: {line}", file=sys.stderr)
    turns = sum(message["role"] == "assistant" for row in tables["trajectories"]
                for message in row["messages"])
    print(f"{len(tables['prs'])} PRs, {len(tables['trajectories'])} trajectories, {turns} turns: "
          + ("NOT as they should be" if wrong else "all as they should be"), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
