"""Check the files of samples/cluster: the manifest by the rules of its kinds, the script of Slurm
by running it where all machines of the job are this one."""
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from conftest import REPO, answers, flags_for
from fake_llm import Say

VERSION = "1.37.0"         # of Kubernetes
SRUN = """#!/bin/bash
echo "srun $*" >> calls
while [[ $1 = -* ]]; do shift; done
exec 9> lock; flock 9   # two nodes that start at once on one machine disturb each other
started() { grep -c "Ray runtime started" slurm-*.nodes; }
before=$(started)
(for _ in $(seq 300); do [ "$(started)" -gt "$before" ] && break; sleep 0.2; done) &
exec "$@" 9>&-          # the loop holds the lock
"""
SCONTROL = '#!/bin/sh\n[ "$*" = "show hostnames n[1-3]" ] && printf "127.0.0.%s\\n" 1 2 3\n'


@pytest.fixture(scope="module")
def manifest() -> dict:
    """Return the documents of the manifest by kind."""
    text = (REPO / "samples/cluster/raycluster.yaml").read_text()
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def test_claims_and_pods_of_the_manifest_have_the_fields_of_their_kinds_and_all_volumes(manifest):
    kubernetes_validate.validate(manifest["PersistentVolumeClaim"], VERSION, strict=True)
    spec = manifest["RayCluster"]["spec"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, **group["template"]}
        kubernetes_validate.validate(pod, VERSION, strict=True)
        containers = pod["spec"]["containers"] + pod["spec"].get("initContainers", [])
        mounted = {mount["name"] for one in containers for mount in one["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}


def test_the_manifest_starts_nodes_of_the_locked_ray_with_the_room_of_their_engine(manifest):
    spec = manifest["RayCluster"]["spec"]
    lock = (REPO / "requirements.lock").read_text()
    assert re.search(r"^ray==(\S+)", lock, re.MULTILINE)[1] == spec["rayVersion"]
    workers, = spec["workerGroupSpecs"]
    params = workers["rayStartParams"]
    room = workers["template"]["spec"]["initContainers"][0]["resources"]["limits"]
    word, = shlex.split(params["resources"])   # KubeRay writes it into a command of bash
    assert json.loads(word) == {"sandbox": int(params["num-cpus"]) // 2}
    assert room == {"cpu": params["num-cpus"], "memory": f"{int(params['memory']) >> 30}Gi"}


@pytest.mark.long
def test_a_job_of_slurm_runs_a_stage_on_a_node_for_each_machine(tmp_path, fake_llm):
    for name, text in {"srun": SRUN, "scontrol": SCONTROL}.items():
        Path(tmp_path, name).write_text(text)
        Path(tmp_path, name).chmod(0o755)
    Path(tmp_path, ".venv").symlink_to(REPO / ".venv")
    fake_llm.always(Say("I look.\n\n```bash\nls\n```"))
    tmp_path.with_prompts(6).with_settings()
    job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NODELIST": "n[1-3]",
           "SLURM_CPUS_ON_NODE": "4", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        [REPO / "samples/cluster/slurm.sh", REPO / "king.py", "--root", tmp_path,
         *flags_for(fake_llm)], cwd=tmp_path, env={**os.environ, **job}, capture_output=True,
        text=True, timeout=300)
    shutil.rmtree(f"/tmp/ray-{os.getpid()}")   # logs
    assert done.returncode == 0, done.stderr
    assert len(answers(tmp_path)) == 6
    nodes, = tmp_path.glob("slurm-*.nodes")
    assert nodes.read_text().count("Ray runtime started") == 3
    calls = (tmp_path / "calls").read_text()
    assert [f"--nodelist=127.0.0.{i} ray start" in calls for i in (1, 2, 3)] == [True] * 3
    assert calls.count('--resources={"sandbox": 2}') == 3 and calls.count("--head") == 1
