import itertools
import os
import random
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache

CHANGING = "chcon chgrp chmod chown cp csplit dd install link ln mkdir mkfifo mknod mktemp mv rm rmdir shred split tee touch truncate unlink".split()
READING = ("basename cat cksum comm cut date dirname echo env expand expr false fmt fold head id join ls md5sum nl nproc od paste "
           "printf pwd readlink realpath seq sha1sum sha256sum shuf sleep sort stat sum sync tac tail test timeout tr true tsort "
           "uniq wc bash arch b2sum base32 base64 basenc df dir dircolors du factor groups hostid logname nice nohup numfmt pathchk pinky pr "
           "printenv ptx runcon sha224sum sha384sum sha512sum stdbuf stty tty uname unexpand uptime users vdir who whoami [").split()
WRAPPER = """#!/bin/sh
step() {{
    read -r seen last fault root <"$STEPS"
    seen=$((seen + 1))
    echo "$seen $last $fault $root" >"$STEPS"
    case $fault in
        watch) LC_ALL=C {ls} "$root" >"$STEPS.$seen" ;;
        kill) [ $seen != $last ] || {{ : >"$STEPS.now"; exec {sleep} 60; }} ;;
        once) [ $seen != $last ] || exit 1 ;;
        always) [ $1 = behind ] || [ $seen -lt $last ] || exit 1 ;;
    esac
}}
step before
{real} "$@"
status=$?
step behind
exit $status
"""
LISTING = [shutil.which("ls"), "-AiRb", "--ignore=.mvplan"]
NUMBERS = itertools.count()


@lru_cache(maxsize=None)
def commands():
    """A folder with coreutils and bash, in which the commands that change something count two steps: one before it, one behind it."""
    folder = tempfile.mkdtemp()
    for name in READING:
        if shutil.which(name):
            os.symlink(shutil.which(name), f"{folder}/{name}")
    for name in CHANGING:
        if shutil.which(name):
            with open(f"{folder}/{name}", "w") as file:
                file.write(WRAPPER.format(real=shutil.which(name), sleep=shutil.which("sleep"), ls=" ".join(LISTING)))
            os.chmod(f"{folder}/{name}", 0o755)
    return folder


def kin(pid, mark):
    """The processes of a session, or with this text in their environment; the session's first is the first."""
    found = [pid]
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{name}/stat", "rb") as numbers, open(f"/proc/{name}/environ", "rb") as words:
            if int(numbers.read().rpartition(b")")[2].split()[3]) == pid or mark in words.read():
                found.append(int(name))
    return found


def run(words, plan, last=0, fault="kill", cwd=None):
    """Run mvplan; at its step `last` all of it is killed, or a command fails once, or from then on always."""
    tally = f"{commands()}/steps{next(NUMBERS)}"
    with open(tally, "w") as file:
        file.write(f"0 {last} {fault} {os.fspath(words[0]) if fault == 'watch' else '-'}\n")
    env = {"PATH": commands(), "LANG": "C.UTF-8", "STEPS": tally}
    with tempfile.TemporaryFile() as complaints:
        child = subprocess.Popen(["/bin/bash", "/app/mvplan", *words], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                 stderr=complaints, env=env, cwd=cwd, start_new_session=True)
        with suppress(BrokenPipeError), child.stdin:
            child.stdin.write(plan)
        for _ in range(20000):
            late = child.poll() is None and not os.path.exists(f"{tally}.now")
            if not late:
                break
            time.sleep(0.003)
        for number in (signal.SIGSTOP, signal.SIGKILL) if child.poll() is None else ():
            for pid in kin(child.pid, f"STEPS={tally}\0".encode()):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        child.wait()
        assert not late, "no end after a minute"
        complaints.seek(0)
        return child.returncode, complaints.read(), tally


def mvplan(*args, **more):
    return run(*args, **more)[:2]


def plan_of(pairs):
    return b"".join(part + b"\0" for pair in pairs for part in pair)


def make(root, entries):
    """A tree of (path, what): "d", "f", "p" (a fifo), "l:target", "h:path of a file before it"."""
    os.mkdir(root)
    base = os.fsencode(root) + b"/"
    for path, what in entries:
        kind, _, rest = what.partition(":")
        if kind == "d":
            os.mkdir(base + path)
        elif kind == "l":
            os.symlink(rest, base + path)
        elif kind == "h":
            os.link(base + os.fsencode(rest), base + path)
        elif kind == "p":
            os.mkfifo(base + path)
        else:
            with open(base + path, "wb") as file:
                file.write(b"this was " + path)
            os.chmod(base + path, 0o600 + len(path) % 8)
    for path, what in reversed(entries):
        os.utime(base + path, (10 ** 9, 10 ** 9 + len(path)), follow_symlinks=False)
    os.utime(base, (10 ** 9, 10 ** 9))
    return root


def scan(root, folder_times=False):
    seen = {}

    def note(path, full):
        info = os.lstat(full)
        kind = stat.S_IFMT(info.st_mode)
        entry = [kind, info.st_ino, info.st_mode]
        if kind != stat.S_IFDIR:
            entry += [info.st_mtime_ns, info.st_nlink]
        elif folder_times:
            entry += [info.st_mtime_ns]
        if kind == stat.S_IFREG:
            with open(full, "rb") as file:
                entry.append(file.read())
        if kind == stat.S_IFLNK:
            entry.append(os.readlink(full))
        seen[path] = tuple(entry)
        if kind == stat.S_IFDIR:
            for name in os.listdir(full):
                note(path + b"/" + name if path else name, full + b"/" + name)

    note(b"", os.fsencode(root))
    return seen


def model(before, pairs):
    """The tree after, or None if the plan is none for this tree."""
    goes = dict(pairs)
    if len(goes) < len(pairs) or len(set(goes.values())) < len(pairs) or not set(goes) <= set(before):
        return None
    after = {}
    for path, entry in before.items():
        top = path
        while top and top not in goes:
            top = top.rpartition(b"/")[0]
        place = goes[top] + path[len(top):] if top else path
        if place in after:
            return None
        after[place] = entry
    for place in after:
        if place and after.get(place.rpartition(b"/")[0], (0,))[0] != stat.S_IFDIR:
            return None
    return after


def same(root, wanted, label):
    found = scan(root)
    wrong = sorted(path for path in {*found, *wanted} if found.get(path) != wanted.get(path))
    assert not wrong, f"{label}: not as they should be: {wrong[:6]}"


def done(root, pairs, label):
    """The plan has to be carried out."""
    wanted = model(scan(root), pairs)
    assert wanted, f"{label}: the test is wrong"
    status, err = mvplan([root], plan_of(pairs))
    assert status == 0, f"{label}: status {status}: {err[-200:]}"
    same(root, wanted, label)


def refused(root, plan, label):
    before = scan(root, True)
    status, err = mvplan([root], plan)
    assert status == 2 and err, f"{label}: status {status}, {len(err)} bytes on standard error"
    assert scan(root, True) == before, f"{label}: something has changed"


def drawn(dice, valid):
    """A random tree and a plan for it that is valid, or whose fault only the tree after shows."""
    names = [b"a", b"b", b"c", b"d", b"e", b"f*", b"-g"]
    for attempt in range(100000):
        if attempt % 200 == 0:
            entries, folders = [], [b""]
            for _ in range(11):
                path = os.path.join(dice.choice(folders), dice.choice(names))
                if path not in dict(entries):
                    entries.append((path, dice.choice(["d", "d", "f", "l:a"])))
                    folders += [path] if entries[-1][1] == "d" else []
            before = {b"": (stat.S_IFDIR,), **{path: (stat.S_IFDIR if what == "d" else 1, path) for path, what in entries}}
        olds = dice.sample([path for path, _ in entries], dice.randint(3, min(6, len(entries))))
        spots = olds + folders
        news = [dice.choice(olds) if dice.random() < 0.5 else os.path.join(dice.choice(spots), dice.choice(names)) for _ in olds]
        pairs = list(zip(olds, news))
        if len(set(news)) == len(news) and valid == bool(model(before, pairs)) and sum(old != new for old, new in pairs) > 2:
            nested = any(one != other and one.startswith(other + b"/") for side in (olds, news) for one in side for other in side)
            if nested:
                return entries, pairs
    raise AssertionError("the test draws no plan")


NEST = [(b"a", "d"), (b"a/b", "d"), (b"a/b/c", "d"), (b"a/b/c/x", "f"), (b"a/y", "f"), (b"q", "d"), (b"q/z", "f"), (b"r", "f"), (b"k", "l:a/b")]
ODD = [b"-n", b"line\n", b"\n", b"*", b"two  words ", b"\xff\xfe\x80", b"a]b", b"$(touch pwned)", b"@", b"'\"`", b"...", b"\\n\\", b"?[a]", b" ",
       b"x" * 255, b"=", b"--", b"\t", b"caf\xc3\xa9", b"~"]
WIDE = [(b"d", "d"), (b"d/x", "f"), (b"d/in", "d"), (b"d/in/y", "f"), (b"one", "f"), (b"two", "d"), (b"two/-t\n", "f"), (b"ln", "l:nowhere"),
        (b"stay", "d"), (b"stay/h", "h:one"), (b"anchor", "f"), (b"three", "f")]
WIDE_PLAN = [(b"one", b"two"), (b"two", b"e/in"), (b"d", b"e"), (b"d/in", b"d"), (b"two/-t\n", b"d/t \xff"), (b"ln", b"one"), (b"d/x", b"stay/\n")]


def test_all_pairs_happen_at_once(tmp_path):
    plans = [[(b"r", b"q"), (b"q", b"r")], [(b"a", b"q"), (b"q", b"r"), (b"r", b"k"), (b"k", b"a")], [(b"a", b"e"), (b"a/b", b"e/bb"), (b"a/b/c/x", b"e/bb/c/xx")],
             [(b"a/b", b"a"), (b"a", b"a/b")], [(b"a", b"a/deep"), (b"q", b"a")], [(b"a/b/c", b"a"), (b"a/b", b"a/b"), (b"a", b"a/b/c")], [(b"a/b", b"b"), (b"a", b"gone")],
             [(b"r", b"q/.mvplan"), (b"q/z", b".mvplan2"), (b"k", b"\xc3\xa9" * 127 + b"n")], [(b"r", b"q/z"), (b"q/z", b"r")], [(b"a", b"a"), (b"k", b"k"), (b"r", b"q/r")], [(b"q", b"a/b/c/q"), (b"a/b/c/x", b"q")],
             [(b"r", b"s/y"), (b"a/y", b"q/b/y"), (b"a/b", b"q/b"), (b"a", b"s"), (b"q/z", b"a")], []]
    for number, pairs in enumerate(plans):
        done(make(tmp_path / str(number), NEST), pairs, f"plan {number} {pairs}")
    odd = [(name, "df"[k % 2]) for k, name in enumerate(ODD)] + [(ODD[k] + b"/" + ODD[-1 - k], "f") for k in range(0, len(ODD), 2)] + [(b"twin", "h:\t"), (b"pipe", "p")]
    pairs = [(old, new) for old, new in zip(ODD, ODD[1:] + ODD[:1])] + [(ODD[0] + b"/" + ODD[-1], b"%s\n\n"), (b"twin", ODD[1] + b"/-e"), (b"pipe", b"/".join([ODD[1], ODD[4]]))]
    done(make(tmp_path / "odd", odd), pairs, "odd names")
    many = [(b"m", "d")] + [(b"m/%03d" % n, "f") for n in range(120)]
    done(make(tmp_path / "many", many), [(b"m", b"n")] + [(b"m/%03d" % n, b"n/%03d" % ((n * 7 + 1) % 120)) for n in range(120)], "many")
    root = make(tmp_path / "-P root\n", WIDE)
    wanted = model(scan(root), WIDE_PLAN)
    status, err = mvplan(["-P root\n"], plan_of(WIDE_PLAN), cwd=tmp_path)
    assert status == 0, f"relative ROOT: {err[-200:]}"
    same(root, wanted, "relative ROOT")
    for seed in range(12):
        entries, pairs = drawn(random.Random(seed), True)
        done(make(tmp_path / f"random{seed}", entries), pairs, f"random plan {seed} {pairs}")


def test_refused_plans_change_nothing(tmp_path):
    done(make(tmp_path / "valid", WIDE), WIDE_PLAN, "a valid plan")
    root = make(tmp_path / "tree", NEST)
    for plan in (b"a\0", b"a\0b", b"r\0s\0a\0", b"r\0s\0\0", b"r\0s\0a\0e", b"\0", b"r\0s", b"r\0\0", b"\0s\0", b"r\0s\0\n"):
        refused(root, plan, f"malformed {plan}")
    for path in (b"/r", b"./r", b"q/../r", b"..", b".", b"q//z", b"q/z/", b"r/", b".mvplan", b".mvplan/r", b"a/./y", b"/"):
        refused(root, plan_of([(path, b"new")]), f"OLD {path}")
        refused(root, plan_of([(b"r", path)]), f"NEW {path}")
    for path in (b"n" * 256, b"q/" + b"n" * 256, "\u00e9".encode() * 128):
        refused(root, plan_of([(b"r", path)]), "a long name")
    nest = make(tmp_path / "long", [(b"%d" % n, "d") for n in range(20)])
    for last in (201, 200):
        names = [b"%02d" % n + b"n" * 197 for n in range(19)] + [b"n" * last]
        pairs = [(b"%d" % n, b"/".join(names[:n + 1])) for n in range(20)]
        assert len(pairs[-1][1]) == 3800 + last
        if last > 200:
            refused(nest, plan_of(pairs), "a path of 4001 bytes")
        else:
            done(nest, pairs, "a path of 4000 bytes")
    for pairs in ([(b"r", b"s"), (b"r", b"t")], [(b"r", b"s"), (b"q", b"s")], [(b"none", b"s")], [(b"q/none", b"s")], [(b"r/x", b"s")], [(b"k/c", b"s")], [(b"r", b"k/s")],
                  [(b"r", b"q")], [(b"r", b"a/b")], [(b"r", b"q/z")], [(b"q", b"r")], [(b"r", b"none/s")], [(b"r", b"q/z/s")], [(b"a", b"a/b")], [(b"a", b"a/e")],
                  [(b"a", b"q/x"), (b"q", b"a/x")], [(b"a", b"e"), (b"r", b"a/r")], [(b"a", b"e"), (b"r", b"e/y")], [(b"a", b"e"), (b"r", b"e/b/c")], [(b"a", b"e"), (b"a/y", b"e/b")],
                  [(b"r", b"s"), (b"q", b"s/q")], [(b"q", b"a"), (b"a", b"b"), (b"r", b"a/z")], [(b"a/b", b"e"), (b"r", b"a/b/r")], [(b"r", b"q"), (b"q", b"q/e")],
                  [(b"k", b"a"), (b"a", b"e"), (b"r", b"a/r")], [(b"a/b", b"b"), (b"r", b"b/c/x")], [(b"a/b/c", b"a"), (b"a", b"a/x")]):
        assert not model(scan(root), pairs)
        refused(root, plan_of(pairs), f"plan {pairs}")
    for seed in range(100, 112):
        entries, pairs = drawn(random.Random(seed), False)
        refused(make(tmp_path / f"random{seed}", entries), plan_of(pairs), f"random plan {seed} {pairs} of {entries}")
    for words in ([], [root, root], [tmp_path / "none"], [root / "r"], [""]):
        before = scan(root, True)
        assert mvplan(words, plan_of([(b"r", b"s")]))[0] == 64, f"arguments {words}"
        assert scan(root, True) == before


def count(folder, entries, pairs):
    """The steps of this plan, which has to be carried out."""
    root = make(folder / "all", entries)
    wanted = model(scan(root), pairs)
    seen = [subprocess.check_output([*LISTING, root], env={"LC_ALL": "C"})]
    status, err, tally = run([root], plan_of(pairs), fault="watch")
    assert status == 0, f"status {status}: {err[-200:]}"
    same(root, wanted, "without a kill")
    with open(tally) as file:
        steps = int(file.read().split()[0])
    for number in range(1, steps + 1):
        with open(f"{tally}.{number}", "rb") as file:
            seen.append(file.read())
    seen.append(subprocess.check_output([*LISTING, root], env={"LC_ALL": "C"}))
    assert seen[::2] == seen[1::2], "something has changed the tree that is no command from PATH"
    return steps


def killed(folder, entries, pairs, step, more=()):
    """A tree whose plan was killed at a step, as were the recoveries at theirs; with what it may become."""
    root = make(folder / f"step{step}", entries)
    before = scan(root)
    status, _ = mvplan([root], plan_of(pairs), step)
    assert status == -9, f"step {step}: status {status}"
    for last in more:
        status, err = mvplan([root], b"", last)
        assert status in (0, -9), f"step {step}, recovery: status {status}: {err[-200:]}"
    return root, before, model(before, pairs)


def whole(root, states, label):
    found = scan(root)
    assert b".mvplan" not in found, f"{label}: .mvplan is left"
    assert found in states, f"{label}: neither before nor after: {sorted(found)}"


def test_killed_runs_are_made_whole(tmp_path):
    plans = [(WIDE, WIDE_PLAN), (NEST, [(b"a/b/c", b"a"), (b"a/b", b"a/b"), (b"a", b"a/b/c"), (b"q/z", b"q"), (b"q", b"a/q")])]
    for number, (entries, pairs) in enumerate(plans):
        folder = tmp_path / str(number)
        folder.mkdir()
        steps = count(folder, entries, pairs)

        def one(step):
            more = ((), (2,), (5, 2), (4, 7, 1))[(step // 2 + number) % 4]
            root, *states = killed(folder, entries, pairs, step, more)
            status, err = mvplan([root], b"")
            assert status == 0, f"plan {number}, step {step}: recovery ends with {status}: {err[-200:]}"
            whole(root, states, f"plan {number}, killed at step {step} of {steps}, then {more}")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(one, range(1 + number, steps + 1, 2)))    # before each command, then behind each


def test_failing_commands_end_it_as_kills_do(tmp_path):
    steps = count(tmp_path, WIDE, WIDE_PLAN)

    def one(case):
        step, fault = case
        root = make(tmp_path / f"{fault}{step}", WIDE)
        label, before = f"from step {step} of {steps}, {fault}", scan(root)
        states = [before, model(before, WIDE_PLAN)]
        status, err = mvplan([root], plan_of(WIDE_PLAN), step, fault)
        found = scan(root)
        assert status == 1 or (status, found) == (0, states[1]), f"{label}: status {status}: {err[-200:]}"
        assert b".mvplan" in found or found in states, f"{label}: neither before nor after: {sorted(found)}"
        status, err = mvplan([root], b"")
        assert status == 0, f"{label}: recovery ends with {status}: {err[-200:]}"
        whole(root, states, label)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, [(step, fault) for step in range(1, steps, 2) for fault in ("once", "always")]))


def elsewhere(root):
    """What is there beside ROOT, where mvplan could write."""
    tops = ["/tmp", "/var/tmp", "/dev/shm", "/run/lock", "/app", os.path.expanduser("~")]
    return {os.path.join(folder, name) for top in tops for folder, folders, files in os.walk(top) for name in [*folders, *files]
            if not os.path.join(folder, name).startswith((os.fspath(root), commands()))}


def test_the_next_plan_comes_after_the_recovery(tmp_path):
    steps = count(tmp_path, WIDE, WIDE_PLAN)
    for step in (steps // 8 * 4 + 1, steps // 8 * 4 + 4):
        rest = elsewhere(tmp_path / f"step{step}")
        root, *states = killed(tmp_path, WIDE, WIDE_PLAN, step)
        for path in sorted(elsewhere(root) - rest):     # what is not in ROOT/.mvplan is not kept
            with suppress(OSError):
                os.unlink(path) if os.path.islink(path) or not os.path.isdir(path) else shutil.rmtree(path)
        status, err = mvplan([root], b"")
        assert status == 0, f"step {step}: recovery ends with {status}: {err[-200:]}"
        whole(root, states, f"killed at step {step} of {steps}, with nothing kept elsewhere")

    def one(step):
        root, *states = killed(tmp_path, WIDE, WIDE_PLAN, step)
        label = f"killed at step {step} of {steps}"
        if step % 8 == 2:
            bad = (b"anchor\0stay\0", b"anchor\0", b"none\0nowhere\0")[step // 8 % 3]
            status, err = mvplan([root], bad)
            assert status == 2 and err, f"{label}: a plan to refuse: status {status}"
            whole(root, states, label + ", then a refused plan")
            return
        pairs = [(b"anchor", b"three"), (b"three", b"anchor/three"), (b"stay", b"anchor")]
        status, err = mvplan([root], plan_of(pairs))
        assert status == 0, f"{label}: the next plan: status {status}: {err[-200:]}"
        whole(root, [model(state, pairs) for state in states], label + ", then another plan")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(2, steps + 1, 4)))
