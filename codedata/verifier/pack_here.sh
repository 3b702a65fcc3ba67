# For a verifier in the agent's own container: pack the agent's work, and restore the image's source.
# Git ignores the agent's settings, which could name programs to run.
export GIT_DIR=$(mktemp -d)/git GIT_WORK_TREE={workdir} GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
cd {workdir} && git init -q --template= && mkdir -p "$GIT_DIR/objects/info" &&
    echo "$PWD/.git/objects" >"$GIT_DIR/objects/info/alternates" && git read-tree {commit}
tar() { tee "$GIT_DIR/packed" | command tar "$@"; }   # tar's own list cannot hold names with line ends
{collect}
cd {workdir} && xargs -0r <"$GIT_DIR/packed" sh -c \
    'rm -f -- "$@"; dirname -z -- "$@" | xargs -0r rmdir -p --ignore-fail-on-non-empty -- 2>/dev/null; true' _ &&
    git checkout-index -afq &&
    git ls-files --others -z -- '*conftest.py' '*sitecustomize.py' '*usercustomize.py' '*pytest.ini' '*pytest.toml' '*tox.ini' '*setup.cfg' '*pyproject.toml' | xargs -0r rm -f --
