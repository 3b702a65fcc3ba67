"""Check hostile commands in a container: the host stays well, and the reason is named.

Limits are small here, so that reaching them takes seconds: what is shown does not depend on their
size.
"""
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from listening import connects, gateway, host_address, listening

from codedata.errors import ItemFailed
from codedata.sandbox import OUTPUT_BYTES, SandboxDied
from codedata.sandbox.archives import OverBounds, UnsafeArchive
from codedata.sandbox.docker import engine
from codedata.sandbox.docker.container import SandboxDocker

pytestmark = pytest.mark.docker
MB = 1_000_000


@pytest.fixture
def sandbox():
    with SandboxDocker(run_label="tests-escapes", pids=80, memory="300Mi",
                       disk_limit="300MB") as sandbox:
        yield sandbox


def works(sandbox: SandboxDocker) -> bool:
    return sandbox.run("mkdir -p /tmp/x && echo well", timeout_s=20).output == "well\n"


def processes_of(sandbox: SandboxDocker) -> list[str]:
    """List the processes in the container, as the engine sees it."""
    return [row[-1] for row in engine.connect().top(sandbox.id)["Processes"]]


# processes ---------------------------------------------------------------------------------------

def test_a_fork_bomb_meets_the_limit_and_ends_with_its_time(sandbox):
    for bomb in ("f() { f | f & }; f; sleep 60", "while :; do sleep 60 & done",
                 "python3 -c 'import os\nwhile 1:\n  try: os.fork()\n  except OSError: pass'"):
        result = sandbox.run(bomb, timeout_s=3)
        assert result.timed_out and result.limit_hit == "too many processes: 80 allowed", bomb
        assert subprocess.run(["true"]).returncode == 0
        assert len(processes_of(sandbox)) <= 2 and works(sandbox), bomb


DAEMON = """python3 - <<'END'
import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in range(1, 64):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        for fd in range(3): os.close(fd)
        os.execve("/usr/bin/sleep", ["quiet", "4711"], {})
    os._exit(0)
END
"""


def test_a_daemon_without_a_trace_of_its_origin_ends_with_the_time_out(sandbox):
    sandbox.run(DAEMON + "sleep 0.3")
    assert "quiet 4711" in processes_of(
        sandbox), "in the background of a command that ended, it may go on"
    of_another_user = "su nobody -s /bin/sh -c 'setsid sleep 4711 >/dev/null 2>&1 &'; "
    assert sandbox.run(f"{DAEMON}{of_another_user}sleep 60", timeout_s=2).timed_out
    assert not [p for p in processes_of(sandbox) if "4711" in p]


def test_the_container_cannot_be_ended_from_inside(sandbox):
    for attack in ("kill -9 -1", "kill -9 1", "pkill -9 bash; pkill -9 sleep", "kill -USR1 1",
                   "for s in $(seq 64); do [ $s = 10 ] || kill -$s 1; done"):
        sandbox.run(attack, timeout_s=10)
        assert works(sandbox), attack
        assert sandbox.run("sleep 60", timeout_s=1).timed_out and works(sandbox), attack


# memory and disk ---------------------------------------------------------------------------------

def test_a_memory_bomb_is_ended_and_named(sandbox):
    for bomb in ("python3 -c 'x = [bytearray(10_000_000) for _ in range(1000)]'",
                 "x=y; while :; do x=$x$x; done", "head -c 1G /dev/zero | tail",
                 "head -c 2G /dev/zero > /dev/shm/x; tail /dev/zero"):
        result = sandbox.run(bomb, timeout_s=60)
        assert not result.ok and not result.timed_out, bomb
        assert result.limit_hit == "out of memory: 300Mi allowed", bomb
        assert works(sandbox), bomb


@pytest.mark.parametrize("writer", ["head -c 10G /dev/zero > /var/big",
                                    "for i in $(seq 1000); do head -c 10M /dev/urandom > $i; done",
                                    "mkdir t; cd t; for i in $(seq 100); do cp -r /usr u$i; done",
                                    "yes | tee a b c d e f > /dev/null",
                                    "nohup sh -c 'yes > background' >/dev/null 2>&1 & sleep 60"])
def test_who_writes_over_the_disk_limit_is_stopped_before_two_gigabytes_more(sandbox, writer):
    with pytest.raises(SandboxDied,
                       match=r"over the disk limit: .* bytes written, 300,000,000 allowed") as died:
        sandbox.run(writer, timeout_s=120)
        sandbox.run("true")
    assert 300 * MB < int(died.value.what.split()[4].replace(",", "")) < 2300 * MB
    with pytest.raises(SandboxDied, match="over the disk limit"):
        sandbox.run("true")
    sandbox.close()
    assert not engine.connect().containers(all=True, filters={"id": sandbox.id})


def test_a_huge_sparse_file_does_not_come_to_the_host(sandbox, tmp_path):
    with pytest.raises((UnsafeArchive, SandboxDied)):
        sandbox.run("truncate -s 1T bigger")
        sandbox.get("bigger", tmp_path)
    assert sum(p.stat().st_size for p in tmp_path.rglob("*")) < 300 * MB


def test_endless_output_fills_no_memory(sandbox):
    before = resident_bytes()
    result = sandbox.run("yes $(head -c 5000 /dev/zero | tr '\\0' x)", timeout_s=4)
    assert result.timed_out and len(result.output) < OUTPUT_BYTES + 200 < result.n_bytes / 20
    assert resident_bytes() - before < 30 * MB
    result = sandbox.run("(yes >&2 &) ; yes", timeout_s=2)
    assert result.timed_out and works(sandbox)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# the host ----------------------------------------------------------------------------------------

def test_nothing_of_the_hosts_environment_is_inside(sandbox, monkeypatch):
    monkeypatch.setenv("QIANFAN_BEARER_TOKEN", "sk-escape-7731")
    with SandboxDocker(run_label="tests-escapes") as fresh:
        for box in (sandbox, fresh):
            seen = box.run("env; cat /proc/*/environ | tr '\\0' '\\n'; cat /proc/1/cmdline").output
            assert "sk-escape" not in seen
            assert str(os.getpid()) not in box.run("ls /proc").output.split()
            assert Path.cwd().name not in seen
    image = engine.connect().inspect_image(sandbox.image)
    of_the_image = {line.split("=")[0] for line in image["Config"]["Env"]}
    assert set(sandbox.run("env | cut -d= -f1").output.split()) == {
        "HOME", "HOSTNAME", "OLDPWD", "PATH", "PWD", "SHLVL", "_", *of_the_image}


def test_nothing_outside_of_the_container_can_be_written(sandbox, tmp_path):
    (tmp_path / "mine").write_text("mine")
    result = sandbox.run(f"""
        ls {tmp_path} && echo SEEN
        echo x > {tmp_path}/mine && echo WROTE
        mount -t tmpfs none /mnt && echo MOUNTED
        mount --bind / /mnt && echo BOUND
        mknod /tmp/sda b 8 0 && echo DEVICE
        echo 1 > /proc/sys/kernel/panic && echo SYSCTL
        echo b > /proc/sysrq-trigger && echo SYSRQ
        cd /sys/fs/cgroup
        for limit in memory.max pids.max memory/memory.limit_in_bytes pids/pids.max; do
            if [ -e $limit ]; then echo 99999 > $limit && echo CGROUP; fi
        done
        unshare -Ur true && echo NAMESPACE
        (cd /proc/1/root && chroot .. ls {tmp_path}) && echo CHROOT
        ls /var/run/docker.sock /run/docker.sock && echo SOCKET
        hostname other && echo HOSTNAME
        date -s 2001-01-01 && echo CLOCK
        ls /dev/vda /dev/sda /dev/kmsg /dev/mem /proc/kcore/x && echo DEVICES
        python3 -c 'import os; os.setpriority(os.PRIO_PROCESS, 0, -20)' 2>/dev/null && echo NICE
        nsenter -t 1 -m -p true && echo NSENTER
        true""", timeout_s=30)
    assert not [line for line in result.output.split("\n") if line.isupper()], result.output
    assert (tmp_path / "mine").read_text() == "mine" and works(sandbox)


def test_the_hosts_loopback_is_out_of_reach_with_the_network_on_and_off(sandbox):
    with listening("127.0.0.1") as port:
        assert not connects(sandbox, "127.0.0.1", port)
        assert not connects(sandbox, host_address(), port)
        sandbox.network(True)
        for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", host_address(), gateway(sandbox),
                     "172.17.0.1", "host.docker.internal"):
            assert not connects(sandbox, host, port), host


def test_what_the_host_offers_to_all_is_out_of_reach_while_the_network_is_off(sandbox):
    sandbox.network(True)
    address = gateway(sandbox)
    with listening("0.0.0.0") as port:
        for is_on in (True, False, True, False):
            sandbox.network(is_on)
            sandbox.network(is_on)
            # on: as from any machine of the network
            assert connects(sandbox, host_address(), port) is is_on
        for host in (address, "172.17.0.1"):
            assert not connects(sandbox, host, port), host


# archives ----------------------------------------------------------------------------------------

def test_a_link_in_the_container_leads_nothing_that_is_copied_to_the_host(sandbox, tmp_path):
    sandbox.run(
        f"mkdir -p {tmp_path}; ln -s {tmp_path} out; ln -s / root; ln -s ../../../../../../.. up")
    for to in ("out", f"root{tmp_path}", f"up{tmp_path}", str(tmp_path)):
        sandbox.put({"planted": b"x"}, to)
    with pytest.raises(UnsafeArchive):
        sandbox.get("out", tmp_path.parent / "got")
    assert list(tmp_path.iterdir()) == [] and sandbox.run(f"cat {tmp_path}/planted").output == "x"


def test_a_copy_in_a_race_with_links_stays_inside(sandbox, tmp_path):
    """Exchange the place for a link to the host's path again and again while files come and go."""
    swap = f"rm -rf p; ln -s {tmp_path} p; rm -f p; mkdir p"
    sandbox.run(f"mkdir -p {tmp_path}; nohup sh -c 'while :; do {swap}; done' > /dev/null 2>&1 &")
    stop = time.monotonic() + 3
    while time.monotonic() < stop:
        for move in (lambda: sandbox.put({"x": b"x"}, "p"),
                     lambda: sandbox.get("p", tmp_path.parent / "race")):
            with suppress(ItemFailed):   # whether it comes to pass is not the point
                move()
    assert list(tmp_path.iterdir()) == []


def test_a_list_of_differences_in_a_race_with_links_stays_inside_and_is_bounded(sandbox, tmp_path):
    (tmp_path / "of-the-host").touch()
    sandbox.run("mkdir /w && cd /w && mkdir {1..40} && touch gone-{1..40} kept-{1..40}")
    found = sandbox.differences()
    next(path for path, _ in found if path.startswith("/w/"))   # the folder's entries are known now
    sandbox.run(f"cd /w && rm -r gone-* [0-9]*; for i in {{1..40}}; do ln -s {tmp_path} $i; done")
    rest = {path for path, _ in found}
    assert sum(path.startswith("/w/kept-") for path in rest) > 38
    assert not rest & {f"/w/{i}/of-the-host" for i in range(1, 41)}
    assert rest & {f"/w/{i}" for i in range(1, 41)}
    sandbox.run("mkdir -p /w/$(printf 'd/%.0s' {1..300})")
    with pytest.raises(OverBounds, match="folders deep"):
        [*sandbox.differences()]
