"""Test the promises of each sandbox (local, docker, kubernetes), and their parts."""
import ast
import gzip
import io
import os
import subprocess
import sys
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib import import_module
from itertools import chain
from pathlib import Path

import pytest
from conftest import REPO, eventually, run_script
from root import write_files

from codedata.disk import locks
from codedata.errors import Interrupted, ItemFailed, Trouble
from codedata.sandbox import (
    OUTPUT_BYTES,
    SCRIPT_BASH_FUNC,
    Script,
    open_sandbox,
    process_labels,
)
from codedata.sandbox.archives import (
    Bounds,
    OverBounds,
    Stream,
    UnsafeArchive,
    inflated,
    pack,
    unpack,
)
from codedata.sandbox.docker.disk_limit import wait_for_room
from codedata.sandbox.docker.output import Output
from codedata.sandbox.local import SandboxLocal
from codedata.sandbox.shell import COMMAND_BYTES
from codedata.sandbox.sizes import bytes_of

PROXY = "http://me:hunter22@proxy.example:3128"


@pytest.fixture(params=["local", pytest.param("docker", marks=pytest.mark.docker),
                        pytest.param("kubernetes", marks=pytest.mark.pods)])
def sandbox(request, tmp_path_factory, monkeypatch):
    with ExitStack() as stack:
        options = {"docker": {"run_label": "tests", "pids": 200, "memory": "500Mi"}}.get(
            request.param, {})
        if request.param == "kubernetes":
            from kube_server import KubeServer
            kube = stack.enter_context(KubeServer(tmp_path_factory.mktemp("cluster")))
            monkeypatch.setenv("KUBECONFIG", str(kube.kubeconfig))
            options = {"image": "debian:bookworm"}
        yield stack.enter_context(open_sandbox(request.param, proxy=PROXY, **options))


# commands ----------------------------------------------------------------------------------------

def test_a_command_gives_its_output_and_its_exit_code(sandbox):
    result = sandbox.run("echo one; echo two >&2; echo three; exit 7")
    assert (result.exit_code, result.ok, result.timed_out) == (7, False, False)
    assert result.output == "one\ntwo\nthree\n"
    assert result.n_bytes == 14
    assert result.limit_hit == ""
    assert sandbox.run("kill -9 $$").exit_code == 137
    assert [sandbox.run(f"exit {code}").exit_code for code in (0, 1, 126, 127, 255)] == [0, 1, 126,
                                                                                         127, 255]


def test_stdout_and_stderr_come_in_the_order_they_were_written(sandbox):
    output = sandbox.run("for i in {1..500}; do echo o$i; echo e$i >&2; done").output
    assert output.split() == [f"{kind}{i}" for i in range(1, 501) for kind in "oe"]


def test_directory_variables_and_functions_last_from_one_command_to_the_next(sandbox):
    sandbox.run(
        "mkdir -p 'a b'; cd 'a b'; export X=$'1\\n\"2\" $3' Y=y; greet() { echo \"hello $1\"; }")
    result = sandbox.run('pwd; printf "%s|%s|" "$X" "$Y"; greet you; cd - >/dev/null; pwd')
    work = sandbox.workdir
    assert result.output == f'{work}/a b\n1\n"2" $3|y|hello you\n{work}\n'
    sandbox.run("unset X; cd /")
    assert sandbox.run('pwd; echo "${X-unset}${Y-unset}"').output == "/\nunsety\n"


def test_the_state_lasts_also_when_a_command_fails(sandbox):
    for k, end in enumerate(("false", "exit 3", "set -eu; cat /nowhere",
                             "set -e; echo $nothing; false", "kill -INT $$; exit 1", "{ fi; }",
                             "nosuchcommand", "exec 2>&-; false")):
        sandbox.run(f"cd {sandbox.workdir}; mkdir {k}")
        failed = not sandbox.run(f"cd {k}; export X=kept{k}\n{end}").ok
        assert failed or end.startswith("kill"), end
        if end != "{ fi; }":   # bash reads a command whole before it runs any of it
            assert sandbox.run("pwd; echo $X").output == f"{sandbox.workdir}/{k}\nkept{k}\n", end


def test_of_a_killed_command_nothing_is_kept(sandbox):
    sandbox.run("export X=before")
    assert sandbox.run("cd /; export X=after; sleep 60", timeout_s=0.5).timed_out
    assert sandbox.run("pwd; echo $X").output == f"{sandbox.workdir}\nbefore\n"


def test_given_variables_are_for_one_command_and_stronger_than_what_is_kept(sandbox):
    sandbox.run("export X=kept")
    assert sandbox.run("echo $X $Z", env={"X": "given", "Z": "a b"}).output == "given a b\n"
    assert sandbox.run("echo ${Z-none}").output == "none\n"
    assert "CODEDATA" not in sandbox.run("env | grep -v ^CODEDATA_SANDBOX=").output


def test_a_directory_that_was_deleted_leads_back_to_the_start(sandbox):
    sandbox.run("mkdir gone; cd gone; rmdir ../gone")
    lines = {f"{sandbox.workdir}/gone is gone: now in {sandbox.workdir}", sandbox.workdir}
    # the two streams come in any order
    assert set(sandbox.run("pwd").output.splitlines()) == lines
    if sandbox.name != "kubernetes":   # an exec in a pod has to start in the working directory
        sandbox.run(f"cd /; rm -rf {sandbox.workdir}")
        assert sandbox.run("pwd").output == "/\n"


def test_a_command_is_run_as_by_a_plain_bash_without_options_and_input(sandbox):
    sandbox.run("set -euxo pipefail; shopt -s nullglob")
    for command, output in {
            "false; echo $nothing on": "on\n", "echo $0 $# $*": "bash 0\n",
            "nosuchcommand": "bash: line 1: nosuchcommand: command not found\n",
            "cat; read -r line; echo $?": "1\n",
            r"printf 'a\xff\xfe\0b\r\n\x1b[1m'": "a\ufffd\ufffd\ufffdb\r\n\x1b[1m"}.items():
        assert sandbox.run(command, timeout_s=20).output == output


def test_long_and_odd_commands_arrive_whole(sandbox):
    text = "ä€𝄞'\"\\`$x\n" * 20_000
    result = sandbox.run(f"cat > big <<'END'\n{text}END\nwc -c < big\n# whole\n")
    assert result.output.split() == [str(len(text.encode()))]
    assert sandbox.run("echo a\0b\ud800").output == "ab?\n"
    with pytest.raises(ItemFailed, match="too long"):
        sandbox.run("x" * (COMMAND_BYTES + 1))


def test_an_endless_writer_is_cut_and_ended_by_the_time_out(sandbox):
    result = sandbox.run("echo first; yes", timeout_s=1)
    assert (result.exit_code, result.timed_out) == (124, True)
    assert OUTPUT_BYTES < len(result.output) < OUTPUT_BYTES + 100 < result.n_bytes
    assert result.output.startswith("first\ny\n") and "bytes cut ...]\n" in result.output


def test_daemons_go_on_in_the_background_and_end_with_the_next_time_out_or_their_own(sandbox):
    def beats(name: str) -> list[str]:
        """Return what a daemon has written, now and a moment later."""
        return [sandbox.run(f"cat {name}; sleep 0.2").output for _ in range(2)]

    daemon = ("setsid bash -c '(trap \"\" TERM HUP; while :; do date +%s%N > new; mv new {}; "
              "sleep 0.05; done) & disown' &")
    sandbox.run(daemon.format("one"))
    eventually(lambda: sandbox.run("ls one").ok)
    before, after = beats("one")
    assert before != after
    assert sandbox.run(f"cd /tmp; {daemon.format('other')}\nsleep 60", timeout_s=3).timed_out
    for name in ("one", "/tmp/other"):
        before, after = beats(name)
        assert before == after != ""


@pytest.mark.parametrize("name", ["local", pytest.param("docker", marks=pytest.mark.docker)])
def test_commands_end_when_the_run_stops_and_none_begins(name):
    stop = threading.Event()
    with open_sandbox(name, run_label="tests", stop=stop) as box, ThreadPoolExecutor() as pool:
        running = [pool.submit(box.run, command) for command in (
            "touch one; sleep 99", "touch two; exec >&- 2>&-; sleep 99")]
        eventually(lambda: box.run("ls").output.split() == ["one", "two"])
        stop.set()
        for one in (*running, pool.submit(box.run, "sleep 99")):
            with pytest.raises(Interrupted):
                one.result(5)


def test_a_background_process_that_keeps_the_output_open_holds_nothing_up(sandbox):
    result = sandbox.run("sleep 3000 & echo started", timeout_s=60)
    assert result.output == "started\n"
    assert result.ok is True
    assert sandbox.run("echo next").output == "next\n"


def test_a_proxy_is_given_to_commands_and_not_printed(sandbox):
    output = sandbox.run(
        'case $https_proxy in *hunter2*) echo yes; esac; env; echo "$http_proxy$http_proxy"\n'
        "echo ${http_proxy#http} ${http_proxy#*@} ${http_proxy:7:11}").output
    assert output.startswith("yes\n") and "<hidden>" in output and "localhost" in output
    assert "hunter2" not in output and "proxy.example" not in output
    with open_sandbox("local", proxy="http://proxy") as bare:
        assert bare.run("echo a proxy").output == "a proxy\n"


# files -------------------------------------------------------------------------------------------

def test_files_go_in_and_come_out_as_they_were(sandbox, tmp_path):
    source = tmp_path / "source"
    (source / "sub" / "empty").mkdir(parents=True)
    (source / "run.sh").write_text("#!/bin/sh\necho it runs\n")
    (source / "run.sh").chmod(0o755)
    (source / "sub" / "ä b.bin").write_bytes(os.urandom(3_000_000))
    (source / "sub" / "link").symlink_to("../run.sh")
    sandbox.put(source, "in/here")
    assert sandbox.run("cd in/here; ./run.sh; sub/link; id -u; stat -c %u run.sh").output == (
        "it runs\nit runs\n" + 2 * sandbox.run("id -u").output)
    sandbox.run("chmod 6755 in/here/run.sh")
    sandbox.get("in/here", tmp_path / "out")
    copied, original = (folder / "sub" / "ä b.bin" for folder in (tmp_path / "out", source))
    assert copied.read_bytes() == original.read_bytes()
    assert os.readlink(tmp_path / "out" / "sub" / "link") == "../run.sh"
    assert (tmp_path / "out" / "sub" / "empty").is_dir()
    assert (tmp_path / "out" / "run.sh").stat().st_mode & 0o7777 == 0o755


def test_single_files_and_texts_go_in_and_out(sandbox, tmp_path):
    (tmp_path / "one.txt").write_text("one")
    sandbox.put(tmp_path / "one.txt", sandbox.workdir)
    sandbox.put({"two.txt": b"two", "deep/er/three.txt": b"three"}, ".")
    assert sandbox.run("cat one.txt two.txt deep/er/three.txt").output == "onetwothree"
    sandbox.put({"two.txt": b"2"}, sandbox.workdir)
    sandbox.get(f"{sandbox.workdir}/two.txt", tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["two.txt"]
    assert (tmp_path / "out" / "two.txt").read_text() == "2"


def test_what_is_not_there_or_leads_out_is_not_copied(sandbox, tmp_path):
    with pytest.raises(ItemFailed, match=r"not there|No such file"):
        sandbox.get("nowhere", tmp_path / "out")
    for name, target in [("absolute", "/etc/hostname"), ("up", "../../../etc/hostname"),
                         ("self", "../d/../../x")]:
        sandbox.run(f"rm -rf d; mkdir d; ln -s {target} d/{name}")
        with pytest.raises(UnsafeArchive, match=f"{name} is a link that leads out"):
            sandbox.get("d", tmp_path / name)
        assert not (tmp_path / name / name).is_symlink()
    for name in ("../x", "/x", "a/../../x", "a\0b"):
        with pytest.raises(UnsafeArchive):
            sandbox.put({name: b""}, ".")


# the local sandbox -------------------------------------------------------------------------------

def test_the_local_sandbox_is_a_copy_that_leaves_nothing_behind(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    with SandboxLocal(source=tmp_path) as sandbox:
        assert sandbox.run("cat file; echo yours > file").output == "mine"
        pid = int(sandbox.run("setsid sleep 60 > /dev/null 2>&1 & echo $!").output)
        sandbox.run("mkdir ro; touch ro/x; chmod 500 ro; mkdir closed; touch closed/x; "
                    f"chmod 0 closed; ln -s {tmp_path} out")
        assert sandbox.run(   # 5,000 folders deep
            "python3 -c 'import os\nfor i in range(5000): os.mkdir(\"d\"); os.chdir(\"d\")'").ok
        sandbox.network(False)
    eventually(lambda: not Path(f"/proc/{pid}").exists())
    assert (tmp_path / "file").read_text() == "mine" and not Path(sandbox.workdir).parent.exists()
    printed = capsys.readouterr().err
    assert "keep the network" in printed and printed.count("\n") == 1


def test_python_bin_is_what_python_means(tmp_path):
    with SandboxLocal(python_bin=sys.executable) as sandbox:
        for name in ("python", "python3"):
            assert sandbox.run(
                f"{name} -c 'import sys; print(sys.prefix)'").output.strip() == sys.prefix
    with pytest.raises(Trouble, match="no-such-python"):
        SandboxLocal(python_bin="no-such-python")


def test_the_local_sandbox_passes_no_variable_of_the_user_on(monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "sk-local-1234")
    with SandboxLocal() as sandbox:
        assert "sk-local" not in sandbox.run("env").output
        assert str(Path.home()) != sandbox.run("echo $HOME").output.strip()


def test_files_are_put_into_the_local_folder_only(tmp_path):
    with SandboxLocal() as sandbox:
        sandbox.run(f"ln -s {tmp_path} out")
        for to in ("..", str(tmp_path), "out", "out/deeper"):
            with pytest.raises(ItemFailed, match="outside"):
                sandbox.put({"x": b""}, to)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_removed_is_named_and_reap_ends_with_1(tmp_path):
    """Make it immutable for root; for anybody else, put it in a folder that cannot be written."""
    folder = tmp_path / "codedata-stays"
    folder.mkdir()
    (folder / locks.FILE).touch()
    if os.getuid() == 0:
        close, open_ = (["chattr", flag, str(folder)] for flag in ("+i", "-i"))
    else:
        close, open_ = (["chmod", mode, str(tmp_path)] for mode in ("555", "755"))
    root = tmp_path / "root"
    root.mkdir()
    flags = ("--reap", "--yes", "--sandbox", "local")
    subprocess.run(close, check=True)
    try:
        done = run_script("env_setup.py", root, *flags, env={"TMPDIR": str(tmp_path)})
    finally:
        subprocess.run(open_, check=True)
    assert done.returncode == 1
    assert "codedata-stays cannot be removed" in done.stderr
    assert run_script("env_setup.py", root, *flags, env={"TMPDIR": str(tmp_path)}).returncode == 0
    assert not folder.exists()


def test_other_scripts_are_sourced_in_their_order():
    extra = Script("extra.sh", "shout() { echo \"$1!\"; }\nexport FROM_SCRIPT=yes\n")
    with SandboxLocal(scripts=[SCRIPT_BASH_FUNC, extra]) as sandbox:
        assert sandbox.run("cd /; shout $FROM_SCRIPT").output == "yes!\n"
        assert sandbox.run("pwd").output == "/\n"
    with SandboxLocal(scripts=[]) as sandbox:
        sandbox.run("cd /")
        assert sandbox.run("pwd; echo $X", env={"X": "x"}).output == f"{sandbox.workdir}\nx\n"


def test_an_unknown_sandbox_names_those_there_are():
    with pytest.raises(Trouble, match=r"local, docker, kubernetes"):
        open_sandbox("dokcer")


# archives ----------------------------------------------------------------------------------------

def tar_of(*members) -> io.BytesIO:
    """Return a tar made by hand of (name, type, link name or content)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, rest in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                member.linkname = rest
                tar.addfile(member)
            else:
                member.size = len(rest)
                tar.addfile(member, io.BytesIO(rest))
    out.seek(0)
    return out


FILE, LINK, HARD, FOLDER = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE
KINDS = {"->": LINK, "=": HARD, "folder": FOLDER, "character": tarfile.CHRTYPE,
         "block": tarfile.BLKTYPE, "pipe": tarfile.FIFOTYPE}
# what it is | its members in turn: a file, or name -> link, name = hard link, name of what kind
HOSTILE = """
absolute | /{out}/x
up | a/../../x
through a link | l -> {out}, l/x
through a link that is inside | d folder, l -> d, l/x, l -> {out}
absolute link | l -> {out}/secret
link up | a/l -> ../../secret
link down and up | d -> ., l -> d/d/../../secret
link over a folder | d/x, d -> {out}
empty link | l ->
hard link to the host | h = {out}/secret
hard link up | h = ../secret
hard link through a link | l -> {out}/secret, h = l
hard link to what was there | h = there
character device | d character
block device | d block
pipe | p pipe
file over a folder | d/x, d
a file as a folder | f, f/x
"""


def member_of(words: str) -> tuple:
    """Return a member for tar_of() of a line of HOSTILE."""
    name, kind, target, *_ = [*words.split(" "), "", ""]
    if not kind:
        return name, FILE, b"x"
    return name, KINDS[kind], target if kind in ("->", "=") else b""


@pytest.mark.parametrize("case", HOSTILE.strip().split("\n"))
def test_an_archive_cannot_write_or_read_outside_of_its_folder(tmp_path, case):
    out, to = tmp_path / "out", tmp_path / "to"
    write_files(tmp_path, {"out/secret": "secret", "secret": "secret", "to/there": "there"})
    members = case.format(out=out).split(" | ")[1].split(", ")
    archive = tar_of(*map(member_of, members))
    with pytest.raises((UnsafeArchive, FileNotFoundError)):
        unpack(archive, to, Bounds(10_000))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "secret", "to"]
    assert [p.name for p in out.iterdir()] == ["secret"]
    assert (out / "secret").read_text() == "secret"
    leads_out = [p for p in to.rglob("*") if not p.resolve().is_relative_to(to)]
    assert leads_out == []
    assert "secret" not in "".join(p.read_text() for p in to.rglob("*") if p.is_file())


def test_a_folder_of_the_host_that_holds_a_link_is_not_written_through(tmp_path):
    (tmp_path / "to").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "to" / "l").symlink_to(tmp_path / "out")
    with pytest.raises(UnsafeArchive, match="goes through a link"):
        unpack(tar_of(("l/x", FILE, b"x")), tmp_path / "to", Bounds(10))
    # the link itself is taken away, not followed
    unpack(tar_of(("l", FILE, b"new")), tmp_path / "to", Bounds(10))
    assert list((tmp_path / "out").iterdir()) == [] and (tmp_path / "to" / "l").read_text() == "new"


def test_links_that_stay_inside_are_kept(tmp_path):
    unpack(tar_of(("a/b/f", FILE, b"f"), ("a/l", LINK, "b/f"), ("a/b/up", LINK, "../../a/b"),
                  ("h", HARD, "a/b/f"), ("here", LINK, ".")), tmp_path, Bounds(10))
    assert (tmp_path / "a/l").read_text() == (tmp_path / "h").read_text() == (
        tmp_path / "a/b/up/f").read_text() == "f"


def test_unpacking_has_a_limit_of_seconds_too(tmp_path):
    with pytest.raises(OverBounds) as found:
        unpack(tar_of(("a", FILE, b"")), tmp_path, Bounds(max_seconds=0))
    assert found.value.kind == "too_slow"


def test_a_header_that_is_read_at_once_is_limited(tmp_path):
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 5 * 10**9
    pieces = (b"x" * 2**20 for _ in range(100))
    with pytest.raises(UnsafeArchive, match="header of 5,000,000,000 bytes"):
        unpack(Stream(chain([member.tobuf()], pieces)), tmp_path)
    assert sum(1 for _ in pieces) > 90, "no more than its head was read"


def test_one_short_global_header_is_read_as_git_archive_writes_it_and_no_more(tmp_path):
    one, long = (tarfile.TarInfo.create_pax_global_header({"comment": n * "c"}) for n in (40, 2000))
    rest = tar_of(("a", FILE, b"1")).getvalue()
    unpack(io.BytesIO(one + rest), tmp_path)
    for headers in (one + one, long):
        with pytest.raises(UnsafeArchive, match="header"):
            unpack(io.BytesIO(headers + rest), tmp_path)


@pytest.mark.parametrize("limit, make", [
    ("too_large", "head -c 400 /dev/zero > d/a; for i in 1 2 3; do ln d/a d/$i; done"),
    ("too_many", "cd d; seq 2000 | xargs touch"),
    ("too_deep", "mkdir -p d$(printf /d%.0s {1..300})")])
def test_no_sandbox_hands_over_more_than_was_asked_for(sandbox, tmp_path, limit, make):
    sandbox.run(f"mkdir d; {make}")
    with pytest.raises(OverBounds) as found:
        sandbox.get("d", tmp_path / "out", Bounds(max_bytes=1000, max_files=1000, max_depth=32))
    assert found.value.kind == limit


@pytest.mark.parametrize(
    "data", [b"", b"x" * 511, b"x" * 5000, tar_of(("a", FILE, b"x" * 2000)).getvalue()[:1500]])
def test_what_is_no_archive_is_said(tmp_path, data):
    with pytest.raises(UnsafeArchive, match="no archive"):
        unpack(Stream([data]), tmp_path, Bounds(10_000))


def test_gzip_without_end_that_unpacks_to_nothing_is_refused():
    assert b"".join(inflated(io.BytesIO(gzip.compress(b"x") * 11_000))) == b"x" * 11_000
    with pytest.raises(UnsafeArchive, match="empty members"):
        list(inflated(io.BytesIO(gzip.compress(b"") * 11_000)))


def test_packing_follows_no_link_and_takes_no_pipe(tmp_path):
    (tmp_path / "secret").write_text("secret")
    source = tmp_path / "source"
    source.mkdir()
    (source / "link").symlink_to(tmp_path / "secret")
    (source / "folder").symlink_to(tmp_path)
    os.mkfifo(source / "pipe")
    with pack(source, 5, 6) as archive:
        data = archive.read()
    members = tarfile.open(fileobj=io.BytesIO(data)).getmembers()
    assert [(m.name, m.type, m.uid, m.gid) for m in members] == [("folder", LINK, 5, 6),
                                                                 ("link", LINK, 5, 6)]


# what they are made of ---------------------------------------------------------------------------

def test_output_keeps_both_ends_and_says_what_was_cut():
    output = Output(limit=20)
    for i in range(10_000):
        output.add(b"%d," % i)
    assert output.text() == "0,1,2,3,4,\n[... 48,870 bytes cut ...]\n9998,9999,"


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_a_secret_is_hidden_wherever_it_is_split(size):
    output = Output(["hunter22", "http://hunter22@p"])
    data = b"a hunter22 b http://hunter22@p c hunter2 hunter22"
    for i in range(0, len(data), size):
        output.add(data[i:i + size])
    assert output.text() == "a <hidden> b <hidden> c hunter2 <hidden>"
    assert output.n_bytes == len(data)


def test_no_part_of_a_secret_stands_beside_the_cut():
    for n in range(60):
        output = Output(["XYZZY"], limit=20)
        for byte in b"." * n + b"XYZZY" + b"." * (60 - n):
            output.add(bytes([byte]))
        assert not set("XYZ") & set(output.text()) and "45 bytes cut" in output.text()


def test_sizes():
    sizes = {"10GB": 10**10, "5Gi": 5 * 2**30, "300 MB": 3 * 10**8, "1.5k": 1500, "512": 512,
             "2TiB": 2**41}
    assert {size: bytes_of(size) for size in sizes} == sizes
    for size in ("", "ten", "10i", "-5GB", "5 XB", "1e9"):
        with pytest.raises(Trouble, match="is not a size"):
            bytes_of(size)


def test_what_is_left_names_a_lock_of_its_root_user_and_host_that_nobody_holds(tmp_path):
    code = ("import sys\nfrom codedata.sandbox.process_labels import *\n"
            "label_with(Path(sys.argv[1]))\nprint(labels('r'), flush=True)\ninput()")
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path], text=True, cwd=REPO,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    theirs = ast.literal_eval(process.stdout.readline())
    lock = Path(theirs[process_labels.LOCK])

    def is_left(root: Path = tmp_path, all_roots: bool = False, **changed: str) -> bool:
        process_labels.label_with(root)
        return process_labels.is_left({**theirs, **{f"codedata.{name}": value
                                                    for name, value in changed.items()}}, all_roots)

    assert theirs[process_labels.RUN] == "r" and lock.parent == tmp_path
    assert lock.name == f"_lock.process.{os.getuid()}.0", "each user has files of its own"
    assert not is_left(), "it lives"
    process.kill()
    process.communicate()
    ours = process_labels.labels("")
    assert not process_labels.is_left(ours, True)
    for name in (str(lock), ours[process_labels.LOCK], str(tmp_path / "gone")):
        assert is_left(lock=name) and is_left(tmp_path / "another", True, lock=name)
        assert not is_left(tmp_path / "another", lock=name)
    assert not (is_left(lock="") or is_left(user="another") or is_left(host="another"))


@pytest.mark.parametrize("script", ["analyze", "audit", "bug_inject agent", "build_dp validate",
                                    "nl2repo", "pr_tasks"])
def test_what_needs_images_refuses_pods_and_names_the_way(tmp_path, script):
    name, *words = script.split()
    with pytest.raises(Trouble, match=r"--sandbox kubernetes makes no images.*\n.*--engine ray"):
        import_module(name).main([*words, "--root", str(tmp_path), "--sandbox", "kubernetes"])
    assert [*tmp_path.iterdir()] == []


def test_work_waits_for_room_with_one_line(tmp_path, capsys):
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(wait_for_room, Path("/"), 10**18, stop) for _ in range(4)]
    assert all(isinstance(one.exception(), Interrupted) for one in waiting)
    assert capsys.readouterr().err.count("GB free") == 4
    wait_for_room(tmp_path, 1, threading.Event())
    assert capsys.readouterr().err == ""
