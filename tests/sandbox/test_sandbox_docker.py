"""Test the Docker sandbox: containment, network, images, limits, and what a kill leaves."""
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import REPO, eventually
from listening import connects

from codedata.errors import ItemFailed, Trouble, start_thread
from codedata.sandbox import SandboxDied, process_labels
from codedata.sandbox.docker import engine
from codedata.sandbox.docker.container import INIT, SandboxDocker
from codedata.sandbox.docker.disk_limit import DiskWatch

pytestmark = pytest.mark.docker
RUN = "tests-docker"
SHARED = "tests-docker-shared"   # of the sandbox of tests that leave nothing in it


@pytest.fixture(scope="module")
def api():
    return engine.connect()


@pytest.fixture(scope="module")
def sandbox():
    with SandboxDocker(run_label=SHARED, pids=100, memory="300Mi") as sandbox:
        yield sandbox


def left(api, run: str) -> list[str]:
    """Return the names of what carries a run's label."""
    of_run = {"label": f"{process_labels.RUN}={run}"}
    return ([c["Names"][0] for c in api.containers(all=True, filters=of_run)]
            + [n["Name"] for n in api.networks(filters=of_run)]
            + [i["Id"] for i in api.images(filters=of_run)])


def volumes(api) -> set[str]:
    return {v["Name"] for v in api.volumes()["Volumes"] or []}


# how a container is set up -----------------------------------------------------------------------

def test_the_container_has_the_limits_and_no_more_rights_than_it_needs(sandbox, api):
    found = api.inspect_container(sandbox.id)
    host = found["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert not host["Privileged"]
    assert host["PidsLimit"] == 100 and host["Memory"] == host["MemorySwap"] == 300 * 2**20
    assert host["CpuQuota"] == 2 * host["CpuPeriod"]
    assert host["NetworkMode"] == "none" and host["LogConfig"]["Type"] == "none"
    assert found["Mounts"] == [] and not host["Binds"]
    status = sandbox.run("cat /proc/self/status").output
    assert "NoNewPrivs:\t1" in status and "CapEff:\t00000000000000fb" in status
    labels = found["Config"]["Labels"]
    assert labels[process_labels.RUN] == SHARED and not process_labels.is_left(labels, True)


def test_package_managers_can_do_what_they_do_as_root(sandbox):
    result = sandbox.run("""set -e
        mkdir -p p/DEBIAN p/usr/share/i5; echo data > p/usr/share/i5/f
        chown nobody:games p/usr/share/i5/f
        chmod 2750 p/usr/share/i5; chmod u+s p/usr/share/i5/f
        printf '%s\\n' 'Package: i5' 'Version: 1' 'Architecture: all' \\
            'Maintainer: m <m@example.org>' 'Description: d' > p/DEBIAN/control
        dpkg-deb -b p i5.deb; dpkg -i i5.deb
        stat -c '%U:%G %a' /usr/share/i5/f; stat -c %a /usr/share/i5
        su nobody -s /bin/sh -c id; rm -r p/usr
        mkdir t; mv i5.deb t; chmod 000 t; cat t/i5.deb | wc -c""")
    assert result.ok
    assert "nobody:games 4644\n2750\n" in result.output
    assert "uid=65534(nobody)" in result.output


def test_another_user_than_root_owns_what_it_works_on(tmp_path):
    with SandboxDocker(run_label=RUN, user="nobody") as sandbox:
        sandbox.put({"a/b": b"b"}, ".")
        assert sandbox.run(
            "id -un; stat -c %U a a/b .; cd a; touch c; export X=1").output.split() == [
                "nobody"] * 4
        assert sandbox.run("pwd; echo $X; touch /etc/x 2>&1").output.startswith(
            "/testbed/a\n1\ntouch: cannot touch")
        sandbox.get("a", tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "c"]


def test_orphans_are_taken_in(sandbox):
    sandbox.run("for i in $(seq 60); do (sleep 0.1 &) ; done")
    time.sleep(0.6)
    states = sandbox.run("cat /proc/[0-9]*/stat 2>/dev/null").output
    assert ") Z " not in states and states.count("(sleep)") == 0


def test_a_container_ends_some_time_after_what_made_it(api):
    short = INIT.replace("36000", "30")   # 3 s
    id = engine.create(api, "codedata-base:bookworm", command=["bash", "-c", short],
                              **engine.named(process_labels.labels("")))
    watch = DiskWatch(api, id, 10**9, 1.0)
    try:
        api.start(id)
        start_thread(watch.run)
        time.sleep(6)
        assert api.inspect_container(id)["State"]["Running"]
        watch.stopped.set()
        eventually(lambda: not api.inspect_container(id)["State"]["Running"])
    finally:
        api.remove_container(id, force=True)


def test_an_image_without_bash_or_no_image_at_all_is_said(api):
    empty = subprocess.run(["tar", "-c", "-T", "/dev/null"], capture_output=True).stdout
    api.import_image_from_data(empty, repository="codedata-tests", tag="empty",
                               changes=[f"LABEL {process_labels.RUN}={RUN}"])
    try:
        with pytest.raises(ItemFailed, match="needs bash"):
            SandboxDocker("codedata-tests:empty", run_label=RUN)
    finally:
        assert engine.remove_images(RUN) == ["codedata-tests:empty"]
    with pytest.raises(ItemFailed, match="no-such-image:tests"):
        SandboxDocker("localhost:1/no-such-image:tests", run_label=RUN)
    assert left(api, RUN) == []


def test_an_engine_that_does_not_answer_is_trouble(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    with pytest.raises(Trouble, match="engine cannot be reached") as found:
        SandboxDocker()
    assert "docker-up" in str(found.value)


def test_a_proxy_on_the_loopback_is_refused():
    with pytest.raises(Trouble, match=r"127\.0\.0\.1:3128 is out of a container's reach") as found:
        SandboxDocker(proxy="http://me:secret@127.0.0.1:3128")
    assert "secret" not in str(found.value)


# commands ----------------------------------------------------------------------------------------

def test_a_container_that_is_taken_away_is_a_sandbox_that_died(api):
    sandbox = SandboxDocker(run_label=RUN)
    threading.Timer(0.5, lambda: api.remove_container(sandbox.id, force=True)).start()
    with pytest.raises(SandboxDied):
        sandbox.run("sleep 30")
    for call in (lambda: sandbox.run("true"), lambda: sandbox.put({"x": b""}, "."),
                 lambda: sandbox.network(True), lambda: sandbox.commit("codedata-tests:never")):
        with pytest.raises(SandboxDied, match=r"gone|ended"):
            call()


# network -----------------------------------------------------------------------------------------

def test_without_network_look_ups_fail_at_once_and_the_own_loopback_works(sandbox):
    assert sandbox.run("exec > /dev/null 2>&1; sleep 1.2; exit 5").exit_code == 5   # waited for
    sandbox.network(False)
    sandbox.run("python3 -m http.server 8000 >/dev/null 2>&1 &")
    for _ in range(2):
        # it would take 20 s
        assert not sandbox.run("getent hosts name.example", timeout_s=10).timed_out
        eventually(lambda: connects(sandbox, "localhost", 8000))
        sandbox.network(True)
        sandbox.network(False)


def test_sandboxes_do_not_reach_one_another(sandbox):
    with SandboxDocker(run_label=SHARED, network=True) as other:
        sandbox.network(True)
        other.run("python3 -m http.server 8000 >/dev/null 2>&1 &")
        address = other.run("hostname -i").output.split()[0]
        eventually(lambda: connects(other, address, 8000))
        assert not connects(sandbox, address, 8000)
        assert connects(other, address, 8000)


def test_the_network_goes_with_the_last_sandbox_on_it(api):
    with SandboxDocker(run_label=RUN, network=True) as one:
        with SandboxDocker(run_label=RUN, network=True) as other:
            networks = [list(api.inspect_container(box.id)["NetworkSettings"]["Networks"])
                        for box in (one, other)]
            assert networks[0] == networks[1] and len(networks[0]) == 1
        assert len(api.networks(filters={"label": f"{process_labels.RUN}={RUN}"})) == 1
        one.network(False)
        assert left(api, RUN) == [api.inspect_container(one.id)["Name"]]
        one.network(True)
    assert left(api, RUN) == []


# images ------------------------------------------------------------------------------------------

def test_an_image_holds_the_files_and_neither_proxy_nor_certificates_nor_state(api, tmp_path):
    ca, proxy = tmp_path / "ca.pem", "http://me:pass-5512@proxy-6620.example:3128"
    ca.write_text("-----BEGIN CERTIFICATE-----\nmarker-8841\n-----END CERTIFICATE-----\n" * 3000)
    try:
        with SandboxDocker(run_label=RUN, proxy=proxy, ca_bundle=str(ca), network=True) as sandbox:
            assert "8841" in sandbox.run("tail -n 2 $SSL_CERT_FILE").output
            sandbox.run("export MINE=state-9127; echo made > file")
            assert f"{len(proxy)} /run" in sandbox.run("echo ${#https_proxy} $PIP_CERT").output
            image = sandbox.commit("codedata-tests:made", keep=False)
        config = api.inspect_image(image)["Config"]
        assert config["WorkingDir"] == "/testbed"
        assert config["Cmd"] == ["bash"]
        assert not config["Entrypoint"]
        told = json.dumps([api.inspect_image(image), api.history(image)])
        layers = b"".join(api.get_image("codedata-tests:made"))
        for secret in ("pass-5512", "proxy-6620", "marker-8841", "state-9127", str(ca)):
            assert secret not in told and secret.encode() not in layers, secret
        with SandboxDocker("codedata-tests:made", run_label=RUN) as sandbox:
            assert sandbox.run(
                "cat file; echo ${MINE-none}; pwd; cat /etc/resolv.conf | wc -l; ls -A "
                "/run/codedata"
                               ).output.startswith("made\nnone\n/testbed\n")
            assert engine.remove_images(RUN) == [], "a sandbox uses it"
    finally:
        assert engine.remove_images(RUN) == ["codedata-tests:made"]


# kills -------------------------------------------------------------------------------------------

HOLDS_THREE = """
import sys
from pathlib import Path
from codedata.sandbox import process_labels
from codedata.sandbox.docker.container import SandboxDocker
image = sys.argv[1]
process_labels.label_with(Path(sys.argv[3]))
three = [SandboxDocker(image, run_label=sys.argv[2], network=i < 2) for i in range(3)]
for n in range(2):
    three[0].run(f"echo {n} > file")
    three[0].commit("codedata-tests:orphan", keep=False)
three[1].run("sleep 300 > /dev/null 2>&1 &")
print("ready", flush=True)
three[2].run("sleep 300", timeout_s=300)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_process_leaves_nothing_after_the_next_start(api, tmp_path, number):
    run, before = f"{RUN}-killed", volumes(api)
    image = f"codedata-tests:volume-{number}"
    dockerfile = b'FROM codedata-base:bookworm\nVOLUME /data\nENTRYPOINT ["false"]\nCMD ["x"]\n'
    list(api.build(fileobj=io.BytesIO(dockerfile), tag=image, rm=True))
    try:
        process = subprocess.Popen([sys.executable, "-c", HOLDS_THREE, image, run, tmp_path],
                                   env={**os.environ, "PYTHONPATH": str(REPO)},
                                   text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        process_labels.label_with(tmp_path)
        engine.reap()
        assert len(left(api, run)) == 6 and len(volumes(api) - before) >= 3, "its process lives"
        process.send_signal(number)
        process.communicate()
        assert len(left(api, run)) == (6 if number == signal.SIGKILL else 2), "images, no more"
        engine.reap()
        assert left(api, run) == [] and not volumes(api) - before
    finally:
        api.remove_image(image)


DEEP = """python3 - <<'END'
import os
os.mkdir("deep")
os.chdir("deep")
for _ in range(5_000):
    os.mkdir("d")
    os.chdir("d")
END"""


def test_a_folder_too_deep_for_the_engine_goes_with_its_container(api, capsys):
    with SandboxDocker(run_label=f"{RUN}-deep") as sandbox:
        assert sandbox.run(DEEP).ok
        upper = Path(api.inspect_container(sandbox.id)["GraphDriver"]["Data"]["UpperDir"])
    printed = capsys.readouterr().err
    if os.access(upper.parents[2], os.W_OK):
        assert left(api, f"{RUN}-deep") == [] and not printed
        eventually(lambda: not upper.exists())   # a busy engine removes the folder a bit later
    else:
        assert sandbox.id[:12] in printed and "cannot be removed" in printed and "--reap" in printed


@pytest.mark.parametrize("when",
                         ["box = SandboxDocker(run_label=sys.argv[1]); full(); box.run('true')",
                          "full(); SandboxDocker(run_label=sys.argv[1])"])
def test_a_machine_without_a_thread_to_spare_is_stopped_and_keeps_no_container(api, when):
    code = ("import sys, threading\nfrom codedata.errors import MachineStopped\n"
            "from codedata.sandbox.docker.container import SandboxDocker\n"
            "full = lambda: threading.stack_size(1 << 46)   # more than an address space has\n"
            f"try:\n    {when}\nexcept MachineStopped as e: print(e)")
    done = subprocess.run([sys.executable, "-c", code, f"{RUN}-threads"],
                          env={**os.environ, "PYTHONPATH": str(REPO)}, capture_output=True,
                          text=True, timeout=60)
    assert "A further thread could not be started" in done.stdout, done.stderr
    assert left(api, f"{RUN}-threads") == []
