"""Test how images are built within limits, and what is left of a build."""
import json
import re
import subprocess
import threading
from pathlib import Path

import pytest
from conftest import eventually
from line_tables import rows

from codedata.disk.layouts import write_files
from codedata.errors import Interrupted, ItemFailed
from codedata.sandbox.archives import members, read_tar
from codedata.sandbox.docker import engine
from codedata.sandbox.images.build_image import BUILD, BuildLimits, build, labelled
from codedata.sandbox.images.dockerfile import base_of, read_dockerfile, rewritten

RUN = "tests-images"
TAG = "codedata-tests/built:1"
LIMITS = BuildLimits(timeout_s=120, disk_floor="1GB", memory_request="300Mi")


def built(folder: Path, *steps: str, **limits):
    """Return the build of steps after FROM."""
    text = "\n".join(["FROM codedata-base:bookworm", *steps])
    return build(folder, text, TAG, BuildLimits(**{**vars(LIMITS), **limits}), run_label=RUN)


def paths_below(folder: str) -> set[str]:
    """Return the paths of the built image's files in a folder."""
    with engine.files_of(TAG, threading.Event()) as files, read_tar(files.below(folder)) as tar:
        return {member.name for member in members(tar)}


@pytest.fixture
def api():
    api = engine.connect()
    yield api

    def is_clean() -> bool:   # the engine ends a step that was broken off in its own time
        engine.remove_images(RUN)
        ours = {"label": [BUILD, f"codedata.run={RUN}"]}   # others may build at the same time
        return not (api.images(filters=ours) or api.containers(all=True, filters=ours))

    eventually(is_clean)


@pytest.mark.docker
def test_an_image_is_built_of_its_context_alone(api, tmp_path):
    (tmp_path / "data").write_text("here\n")
    done = built(tmp_path, "COPY . /data")
    assert not done.failed and done.image_id.startswith("sha256:") and "COPY" in done.log
    assert api.inspect_image(TAG)["Config"]["Labels"][engine.KEEP] == ""
    assert paths_below("/data") == {"data", "data/data"}


@pytest.mark.docker
@pytest.mark.parametrize("step, limits, why", [
    ("RUN while :; do echo on; done", {"timeout_s": 2}, "it took more than 2 s"),
    ("RUN head -c 200M /dev/zero >/big; sleep 60", {"disk_limit": "50MB"},
     "a step wrote more than 50MB"),
    ("LABEL codedata.build=x codedata.run=x codedata.keep=1\nLABEL ${A:-codedata.build}=y\n"
     "RUN head -c 200M /dev/zero >/big; sleep 60", {"disk_limit": "50MB"},
     "a step wrote more than 50MB"),
    ("RUN python3 -c 'print(len(bytearray(10**9)))'", {}, "returned a non-zero code: 137"),
    ("RUN bash -c 'for i in $(seq 60); do sleep 60 & done; wait'", {"pids_limit": 40},
     "a step started 40 processes"),
    ("RUN python3 -c \"exec('import os\\nwhile True:\\n try: os.fork()\\n except OSError: pass')\"",
     {"pids_limit": 40}, "a step started 40 processes|code: 137"),   # or memory ends it first
    ("RUN touch /one\nRUN exit 3", {}, "returned a non-zero code: 3"),
    ("COPY nothing /", {}, "nothing"), ("FROM nowhere.invalid/x", {}, "nowhere.invalid"),
    ("NONSENSE", {}, "NONSENSE")])
def test_a_build_that_fails_or_takes_too_much_says_why_and_leaves_nothing(api, tmp_path, step,
                                                                          limits, why):
    done = built(tmp_path, step, **limits)
    assert re.search(why, done.failed, re.IGNORECASE) and done.image_id == ""
    assert api.images(TAG) == []


@pytest.mark.docker
def test_a_build_ends_when_the_run_stops(api, tmp_path):
    stop = threading.Event()
    threading.Timer(3, stop.set).start()
    with pytest.raises(Interrupted):
        build(tmp_path, "FROM codedata-base:bookworm\nRUN sleep 99\n", TAG, LIMITS, run_label=RUN,
              stop=stop)


@pytest.mark.docker
def test_the_steps_of_a_base_image_are_refused(api, tmp_path):
    subprocess.run(["docker", "build", "-t", TAG, "--label", f"codedata.run={RUN}", "-"],
                   input=b"FROM codedata-base:bookworm\nONBUILD RUN sleep 90\n", check=True)
    # its step would have no label
    done = build(tmp_path, f"FROM {TAG}\n", "codedata-tests/built:2", LIMITS, run_label=RUN)
    assert "has ONBUILD steps" in done.failed and done.seconds < 60
    eventually(lambda: not api.containers(all=True, filters={"ancestor": TAG}))   # of that step
    api.remove_image(TAG)   # which was made by hand


def test_labels_stand_behind_each_from_and_label():
    text = ("# c\nARG A=1\nFR\\ \n # c\n\nOM a \\\n  AS b\nRUN x\nfrom\tb\nlabel k=a\n"
            "ADD --chown=a:b f /\n")
    lines = labelled(text, {"k": "$v"}).splitlines()
    label = r'LABEL k="\$v"'
    assert lines == ["ARG A=1", "FROM a   AS b", label, "RUN x", "from\tb", label, "label k=a",
                     label, "ADD --chown=a:b f /"]
    assert labelled("\ufeffFROM a", {"k": "v"}) == 'FROM a\nLABEL k="v"'
    with pytest.raises(ItemFailed, match="line 1 of the Dockerfile: '# Escape = `'"):
        labelled("\ufeff# Escape = `\nFROM a\n", {})


@pytest.mark.parametrize(("text", "base", "line", "words"), [
    ("# a\n\nARG B=a:1 C\nFROM --platform=x ${B} AS b\n# syntax=x\nFROM b\nRUN $((1<<2)) \\\n --a",
     "a:1", 0, ""),
    ("FROM ${B:-a}\nENV A='x << y'\nCOPY --chown=a:b . .\nRUN x <<<y \\\n # z\n\n  && y",
     "a", 0, ""),
    ("FROM ${B}", "", 1, "a variable without default"), ("ARG B\nFROM $B:1", "", 2, "no image"),
    ("FROM scratch\nCOPY . .", "", 1, "scratch has none"), ("FROM scratchy", "scratchy", 0, ""),
    ("FROM a\nRUN echo $((1 << 3)) \"x <<y\"'\n <<z' && a <<<b", "a", 0, ""),
    ("FROM a\nRUN echo $((1 <<3))", "a", 2, "here-documents"),
    ("# x\n # syntax = a/b\nFROM a", "a", 2, "directives"), ("#check=error=true", "", 1, "direct"),
    (f"ARG A={'x' * 9000}\nARG B=$A$A\nFROM a", "", 2, "more than 10,000"),
    ("FROM a\nONBUILD RUN x", "a", 2, "ONBUILD"), ("FROM a\nRUN \\\n\x1c# y", "a", 2, "odd"),
    *((f"FROM a\nRUN \\\n # x\n --{name}=x y", "a", 2, f"'RUN  --{name}=x'")
      for name in ("mount", "network", "security")),
    *((f"FROM a\n# x \\\n{name} a <<-'E' /b\nE", "a", 3, "<<-'E'\"")
      for name in ("run", "COPY", "ADD --chown=a"))])
def test_what_builders_read_in_different_ways_is_refused_with_its_line(text, base, line, words):
    fault = read_dockerfile(text)[1]
    assert base_of(text) == base and words in fault
    assert fault.startswith(f"line {line} of" if line else "") and bool(fault) == bool(line)


THEIRS = """# syntax=docker/dockerfile:1
FROM codedata-base:bookworm
RUN --mount=type=cache,target=/var/cache/x \\
    --mount=id=x,type=tmpfs,target=/y cat <<"A" > /a && cat <<-B >/b
$HOME "q" \\
A
	tab
	B
RUN <<-E
	#!/usr/bin/env python3
	print("ran", file=open("/ran", "w"))
	E
USER nobody
COPY --chown=nobody:nogroup <<'one.txt' <<two /srv/
1 $x
one.txt
2
two
SHELL ["/bin/bash", "-c"]
RUN <<E
[[ -w /srv/two ]] && echo "$((1 << 3))"
E
"""


@pytest.mark.docker
def test_what_only_buildkit_reads_is_rewritten_for_the_builder_that_is_there(api, tmp_path):
    text, files = rewritten(THEIRS)
    write_files(tmp_path, files)
    text += "\nRUN cat /a /b /ran /srv/one.txt /srv/two"
    done = build(tmp_path, text, TAG, LIMITS, run_label=RUN)
    assert not done.failed and "\n8\n" in done.log, done
    assert '\n$HOME "q" \\\ntab\nran\n1 $x\n2\n' in done.log


@pytest.mark.parametrize("step, named", rows(r"""
RUN --mount=type=cache,target=/x --mount=type=secret,id=x true | type=secret
RUN --mount=type=ssh true                                      | type=ssh
RUN --mount=target=/x true                                     | target=/x
RUN --mount=type=bind,from=a,target=/x true                    | type=bind
RUN --network=host <<E\ntrue\nE                                | --network=host
RUN --security=insecure true                                   | --security
COPY <<E /x\n$HOME\nE                                          | <<E
RUN 2<<E cat\nE                                                | 2<<E
"""))
def test_what_a_rewrite_would_change_is_refused_by_name(step, named):
    step = step.replace(r"\n", "\n")
    fault = read_dockerfile(rewritten(f"FROM a\n{step}")[0])[1]
    assert fault.startswith("line 2") and named in fault


def test_of_the_words_of_copy_only_documents_become_files():
    text, files = rewritten("FROM a\nCOPY x<<a <<a /d/\n1\na\nRUN --mount=type=cache,id=a true")
    assert text == "FROM a\nCOPY x<<a .codedata-here/0/a /d/\nRUN true"
    assert files == {".codedata-here/0/a": b"1\n"}


def test_a_dockerfile_that_a_rewrite_would_make_huge_is_refused():
    with pytest.raises(ItemFailed, match="1,000,000 characters"):
        rewritten("FROM a\nSHELL " + json.dumps(["é" * 20_000], ensure_ascii=False)
                  + "\nRUN <<A\nA" * 10)
