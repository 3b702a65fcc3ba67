"""Test SandboxK8s with kube_server.py: its pods are processes, its refusals a real server's."""
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import REPO, eventually
from kube_server import KubeServer

from codedata.errors import ItemFailed, RunStopped, Trouble
from codedata.sandbox import SandboxDied, open_sandbox, process_labels
from codedata.sandbox.kube_client import RECEIVE, WHOLE
from codedata.sandbox.kubernetes import SandboxK8s, reap

pytestmark = pytest.mark.pods


@pytest.fixture
def kube(tmp_path, monkeypatch):
    with KubeServer(tmp_path / "cluster") as server:
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
        yield server


@pytest.fixture
def sandbox(kube):
    with open_(kube) as box:
        yield box


def open_(kube: KubeServer, image: str = "debian:bookworm", **options) -> SandboxK8s:
    return open_sandbox("kubernetes", image=image, **options)


# time-outs ---------------------------------------------------------------------------------------

def test_processes_that_keep_changing_into_new_ones_are_ended_by_the_time_out(sandbox):
    # always about 40, never the same
    hop = "hop() { sleep 0.01; hop & }; for i in {1..20}; do hop & done; sleep 60"
    assert sandbox.run(hop, timeout_s=1).timed_out
    eventually(lambda: int(sandbox.run("ls -d /proc/[0-9]* | wc -l").output) < 15)


def test_a_command_that_kills_all_it_can_reach_ends_itself_alone(sandbox):
    assert sandbox.run("kill -KILL -1; sleep 7775", timeout_s=20).exit_code == 137
    assert "7775" not in sandbox.run(
        "cat /proc/[0-9]*/cmdline 2>/dev/null | grep -ac '777[5]'; echo still here").output
    assert sandbox.run("echo still here").output == "still here\n"


def test_no_zombies_are_left(sandbox):
    for _ in range(5):
        sandbox.run("(sleep 0.01 &) ; (exit 1) &")
    assert sandbox.run("sleep 0.2; grep -l '^State:.Z' /proc/[0-9]*/status | wc -l").output == "0\n"


# files -------------------------------------------------------------------------------------------

def test_what_cannot_be_written_is_named_and_the_pod_goes_on(sandbox):
    with pytest.raises(ItemFailed, match="cannot be written in the pod"):
        sandbox.put({"x": bytes(20_000_000)}, "/proc/nowhere")
    assert sandbox.run("echo goes on").output == "goes on\n"


# the pod -----------------------------------------------------------------------------------------

def test_the_pod_is_as_it_was_asked_for(kube):
    with open_(kube, cpu_request="500m", memory_request="1Gi", disk_limit="4GB", run_timeout=900,
               pod_prefix="mine", run_label="run-7", workdir="/src") as box:
        pod = kube.pods[box.pod].body
        spec, container = pod["spec"], pod["spec"]["containers"][0]
        assert pod["metadata"]["name"] == box.pod and box.pod.startswith("mine-")
        assert pod["metadata"]["labels"] == {"codedata.run": "run-7", "codedata.pod": box.pod}
        assert pod["metadata"]["annotations"]["codedata.pid"] == str(os.getpid())
        assert spec["activeDeadlineSeconds"] == 900
        assert container["image"] == "debian:bookworm"
        assert container["resources"] == {
            "requests": {"cpu": "500m", "memory": "1Gi", "ephemeral-storage": str(1 << 30)},
            "limits": {"cpu": "500m", "memory": "1Gi", "ephemeral-storage": "4000000000"}}
        assert box.run("pwd").output == "/src\n"
    assert spec["restartPolicy"] == "Never" and spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    context = container["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"]["drop"] == ["ALL"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert not any("hostPath" in v for v in spec["volumes"])


def test_proxy_and_ca_bundle_reach_commands_and_no_object_of_the_cluster_nor_other_variables(
        kube, tmp_path, monkeypatch):
    monkeypatch.setenv("CHUTES_API_KEY", "sk-of-the-host")
    (tmp_path / "ca.pem").write_text("-----the bundle-----")
    proxy = "http://me:pass-4711@proxy.example:3128"
    with open_(kube, proxy=proxy, ca_bundle=str(tmp_path / "ca.pem")) as box:
        shown = box.run('[ "$https_proxy" = "$HTTP_PROXY" ] && echo ${#https_proxy}; '
                        "cat $SSL_CERT_FILE")
        assert shown.output == f"{len(proxy)}\n-----the bundle-----"
        seen = box.run("env; cat /proc/*/environ").output
        assert "sk-of-the-host" not in seen and "pass-4711" not in box.run("env").output
        assert "4711" not in str(kube.posted)


def test_threads_that_share_a_sandbox_take_turns(sandbox):
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda i: sandbox.run(f"echo {i}").output, range(8)))
    assert done == [f"{i}\n" for i in range(8)]


def test_close_deletes_the_pod_at_once_and_may_be_called_twice(kube):
    box = open_(kube)
    box.run("sleep 7776 > /dev/null 2>&1 &")
    root = kube.pods[box.pod].root
    box.close()
    box.close()
    assert kube.pods == {} and not root.exists()
    with pytest.raises(SandboxDied, match="was closed"):
        box.run("true")


# the network -------------------------------------------------------------------------------------

def test_with_policies_a_pod_starts_with_no_network_and_its_policy_goes_with_it(kube):
    with open_(kube, network_policy=True) as box:
        (policy,) = kube.policies.values()
        assert policy["spec"] == {"podSelector": {"matchLabels": {"codedata.pod": box.pod}},
                                  "policyTypes": ["Ingress", "Egress"]}
        for is_on in (True, True, False, False):
            box.network(is_on)
            assert list(kube.policies) == ([] if is_on else [box.pod])
    assert kube.policies == {}


def test_without_policies_it_is_said_that_the_network_stays(kube, sandbox, capsys):
    sandbox.network(False)
    assert f"the pod {sandbox.pod} keeps the cluster's network" in capsys.readouterr().err
    assert kube.policies == {}


# what goes wrong at the start --------------------------------------------------------------------

@pytest.mark.parametrize("cluster, options, error, said", [
    ({}, {"image": "no/such:image"}, ItemFailed,
     "no/such:image: the pod does not start: ImagePullBackOff: .*not found"),
    ({"unschedulable": "0/3 nodes are available: 3 Insufficient memory."}, {"start_timeout": 1},
     ItemFailed, "Unschedulable: 0/3 nodes.*--memory-request"),
    ({"pod_limit": 0}, {}, ItemFailed, "quota.*limited: pods=0.*--workers"),
    ({}, {"namespace": "nowhere"}, Trouble, "namespace nowhere.*kubectl create namespace nowhere"),
    ({"forbidden": "/pods"}, {}, Trouble, "403.*/pods is forbidden.*rights"),
    ({"forbidden": "/exec"}, {}, Trouble, "403.*/exec is forbidden.*rights"),
    ({"token": "another"}, {}, Trouble, "401.*does not know you"),
    ({}, {"memory_request": "5 gigs"}, Trouble, "422.*memory.*Check the settings")])
def test_a_pod_that_does_not_start_leaves_none_and_says_why(kube, cluster, options, error, said):
    vars(kube).update(cluster)
    with pytest.raises(error, match=f"(?s){said}") as found:
        open_(kube, **options)
    assert kube.pods == {} and isinstance(found.value, ItemFailed) is (error is ItemFailed)


def test_a_cluster_that_nobody_runs_is_named(kube, tmp_path):
    box = open_(kube)
    kube.__exit__()
    with pytest.raises(RunStopped, match=f"(?s){kube.url}.*does not answer.*kubectl get pods"):
        box.close()


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none.yaml"))
    with pytest.raises(Trouble, match=r"(?s)none\.yaml.*KUBECONFIG"):
        SandboxK8s("debian:bookworm")


# what goes wrong on the way ----------------------------------------------------------------------

@pytest.mark.parametrize("reason, message, said", [
    ("OOMKilled", "", r"out of memory \(limit 5Gi\)"),
    ("Evicted", "The node was low on memory.", "Evicted: The node"),
    ("PreemptionByScheduler", "for a more important pod", "PreemptionByScheduler: for a more"),
    ("Deleted", "", "deleted"), ("Error", "", "Error")])
def test_a_pod_that_ends_in_mid_command_is_sandbox_died_with_the_reason(
        kube, sandbox, reason, message, said):
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(sandbox.run, "touch begun; sleep 60")
        eventually((kube.pods[sandbox.pod].root / "testbed" / "begun").exists)
        kube.end(sandbox.pod, reason, message)
        with pytest.raises(SandboxDied, match=said):
            running.result(30)
    with pytest.raises(SandboxDied, match=said):
        sandbox.run("true")


def test_a_pod_over_its_run_timeout_says_so(kube):
    with open_(kube, run_timeout=2) as box, pytest.raises(SandboxDied,
                                                          match=r"run_timeout \(2 s\)"):
        box.run("sleep 60")


def test_a_connection_that_is_cut_in_mid_command_is_no_result_and_the_command_is_not_repeated(
        kube, sandbox):
    root, before = kube.pods[sandbox.pod].root, kube.n_execs
    kube.cut_after = 200
    with pytest.raises(SandboxDied,
                       match=r"(?s)lost its connection.*How far it came is not\s+known"):
        sandbox.run("echo x >> /tmp/times; sleep 0.3; seq 1000; sleep 60", timeout_s=30)
    assert kube.n_execs == before + 1 and kube.pods == {} and not root.exists()


def test_a_server_that_leaves_the_connection_open_does_not_hold_up_the_end(kube, sandbox):
    kube.closes = False
    result = sandbox.run("echo out; exit 3", timeout_s=10)
    assert (result.exit_code, result.output) == (3, "out\n")


def test_calls_and_execs_are_made_again_and_pods_and_commands_not_twice(kube):
    kube.fail(503, "reset", 429)
    kube.forget_after_create = True
    with open_(kube) as box:
        assert list(kube.pods) == [box.pod]
        kube.fail_exec(500, "reset", 503)
        assert box.run("echo x >> /tmp/times; cat /tmp/times").output == "x\n"
        kube.fail(500, "reset")
    assert kube.pods == {}


@pytest.mark.parametrize(
    "sent, said", [("echo half; echo", ""), ("echo half; echo whole\n# whole", "half\nwhole\n")])
def test_of_a_command_that_was_cut_on_its_way_in_nothing_is_run(sent, said):
    done = subprocess.run(["bash", "-c", RECEIVE, "bash", "29", WHOLE], input=sent,
                          capture_output=True, text=True)
    assert done.stdout == said


# what a killed process leaves --------------------------------------------------------------------

OWNER = """
import sys, time
sys.path.insert(0, {repo!r})
from codedata.sandbox.kubernetes import SandboxK8s
from codedata.sandbox.process_labels import Path, label_with
label_with(Path({root!r}))
boxes = [SandboxK8s("debian:bookworm", network_policy=True) for _ in range(3)]
print("up", flush=True)
boxes[0].run("sleep 100")
"""


def test_after_a_kill_reap_leaves_nothing_of_the_killed_and_all_of_the_living(kube, sandbox,
                                                                              tmp_path):
    program = OWNER.format(repo=str(REPO), root=str(tmp_path))
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert owner.stdout.readline() == b"up\n"
    assert reap() == [] and len(kube.pods) == 4
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    process_labels.label_with(tmp_path / "another")
    assert reap() == []
    process_labels.label_with(tmp_path)
    assert len(reap()) == 3
    assert list(kube.pods) == [sandbox.pod] and kube.policies == {}
    assert sandbox.run("echo alive").output == "alive\n"
