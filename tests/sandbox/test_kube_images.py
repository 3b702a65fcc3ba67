"""Test images of pods: kube_server.py runs pods as containers, with the rights of their specs."""
from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial

import docker
import pytest
from kube_server import KubeServer
from registry_server import registry_server

from codedata.code.patches import diff_of
from codedata.errors import ItemFailed
from codedata.sandbox import docker_engine, registry
from codedata.sandbox.factory import SandboxFactory
from codedata.sandbox.image_layers import layers
from codedata.sandbox.kube_images import PodFiles
from codedata.settings import SandboxSettings, Settings
from codedata.tasks.images import check_task_image, derive

pytestmark = pytest.mark.docker
NEW = b"def wade(depth):\n"
OLD = NEW + b"""    if depth > 3:
        raise ValueError("deeper than its legs are long, so it turns")
    return "it goes on to where the other herons have been all morning"
"""
BASE = "codedata-base:bookworm"
RUN = "kube-images"
CHANGE = """echo changed > /etc/motd; rm -r /etc/issue /usr/share/doc/tar; echo new > "$(pwd)/new"
chown 1000:1001 new; chmod 4750 new; ln -s new link; ln new hard; touch /etc/debian_version
sleep 600 & echo $! > /run/codedata/pid"""
GOES_ON = "grep State.*sleeping /proc/$(cat /run/codedata/pid)/status"
LOOK = """stat -c '%n %u:%g %a %h %s' new; readlink link; cat /etc/motd
ls -A /etc/issue /usr/share/doc/tar /run/codedata 2>&1; pwd; echo $PIP_BREAK_SYSTEM_PACKAGES"""
SEEN = """new 1000:1001 4750 2 4
new
changed
ls: cannot access '/etc/issue': No such file or directory
ls: cannot access '/usr/share/doc/tar': No such file or directory
/run/codedata:
/testbed
1
"""
CONTENT = {"etc", "etc/.wh.issue", "etc/motd", "etc/debian_version", "run", "run/codedata",
           "testbed", "testbed/new", "testbed/link", "testbed/hard", "usr", "usr/share",
           "usr/share/doc", "usr/share/doc/.wh.tar",
           ".dockerenv", "etc/mtab"}   # of the engine that plays the cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Yield (a factory of pods, the registry's address), with the base image in the registry."""
    with registry_server() as address, KubeServer(tmp_path_factory.mktemp("kube")) as kube:
        kube.in_containers = True
        api, base = docker_engine.connect(), f"{address}/base:1"
        api.tag(BASE, base)
        api.push(base)
        settings = SandboxSettings("kubernetes", base_image=base, registry=f"{address}/data/",
                                   kubeconfig=str(kube.kubeconfig))
        yield SandboxFactory(Settings(sandbox=settings), threading.Event()), address
    for image in api.images():   # that pods have pulled, or the test itself
        for name in (*(image["RepoTags"] or ()), *(image["RepoDigests"] or ())):
            with suppress(docker.errors.ImageNotFound):   # a digest goes with its tag
                if name.startswith(address):
                    api.remove_image(name)


def test_an_image_of_a_pod_holds_what_the_pod_has_changed_and_nothing_else(cluster):
    factory, address = cluster
    with factory.open(factory.base_image, RUN) as pod:
        assert pod.run(CHANGE).ok
        image = pod.commit(factory.temporary_name("codedata-env-try/"), keep=False)
        assert pod.run(GOES_ON).ok
    kept = factory.keep(image, "codedata-env/heron:1")
    factory.forget(RUN)
    assert kept.name == f"{address}/data/codedata-env/heron@{kept.image_id}"
    with pytest.raises(ItemFailed, match="unknown"):
        factory.files_of(image).__enter__()
    assert registry.is_here(kept.name)
    new = layers(kept.name)[-1]
    assert {path.rstrip("/") for path in new.paths} == CONTENT and new.n_bytes < 1000
    with factory.open(kept.name, RUN) as pod:
        assert pod.run(LOOK).output == SEEN


@pytest.mark.long
def test_a_task_is_derived_and_searched_in_the_registry(cluster):
    factory, _ = cluster
    with factory.open(factory.base_image, RUN) as pod:
        pod.run("rm -rf /usr/share/doc")
        pod.put({"heron.py": OLD}, ".")
        env = pod.commit(factory.temporary_name("codedata-env-try/"))
    image = derive(factory, env, diff_of({"heron.py": OLD}, {"heron.py": NEW}),
                   factory.temporary_name("codedata-bug-try/"), RUN)
    gold = diff_of({"heron.py": NEW}, {"heron.py": OLD})
    assert check_task_image(image.name, gold, files_of=factory.files_of) == ([], {})
    with factory.open(image.name, RUN) as pod:
        pod.put({"copy.py": OLD}, "/opt")
        shown = pod.commit(factory.temporary_name("codedata-bug-try/"))
    [trace], _ = check_task_image(shown, gold, files_of=factory.files_of)
    assert trace.startswith("/opt/copy.py")
    factory.forget(RUN)


def test_what_cannot_be_read_is_no_file_that_is_not_there(cluster):
    factory, _ = cluster
    with factory.files_of(factory.base_image) as files:
        assert files.one("/bin/bash") is files.one("/usr/bin") is files.one("/nowhere/a") is None
        assert files.one("/usr/bin/bash")
        for way in ("/bin/bash", "/nowhere/a"):   # the first one is behind a link
            with pytest.raises(ItemFailed):
                files.below(way)
        gone = PodFiles(factory._pods, "/gone", {})
        for read in (gone.all, partial(gone.below, "/a"), partial(gone.one, "/a")):
            with pytest.raises(ItemFailed):
                read()


def test_without_a_registry_it_is_said_what_to_set(cluster):
    with pytest.raises(ItemFailed, match="the name of codedata-base:bookworm has no registry"):
        cluster[0].files_of("codedata-base:bookworm").__enter__()
    without = SandboxFactory(Settings(sandbox=SandboxSettings("kubernetes")), threading.Event())
    assert without.no_images == "--sandbox kubernetes makes none without [sandbox] registry"
