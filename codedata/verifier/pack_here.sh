# Where the verifier is in the agent's own container: pack the work, and put the source back to what the image has.
# Git reads no setting of the agent's, which could name programs to run.
export GIT_DIR=$(mktemp -d)/git GIT_WORK_TREE={workdir} GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
cd {workdir} && git init -q --template= && mkdir -p "$GIT_DIR/objects/info" &&
    echo "$PWD/.git/objects" >"$GIT_DIR/objects/info/alternates" && git read-tree {commit}
tar() { tee "$GIT_DIR/packed" | command tar "$@"; }   # a list of tar's has a line end in a name as it is
{collect}
cd {workdir} && xargs -0r <"$GIT_DIR/packed" sh -c \
    'rm -f -- "$@"; dirname -z -- "$@" | xargs -0r rmdir -p --ignore-fail-on-non-empty -- 2>/dev/null; true' _ &&
    git checkout-index -afq &&
    git ls-files --others -z -- '*conftest.py' '*sitecustomize.py' '*usercustomize.py' '*pytest.ini' '*pytest.toml' '*tox.ini' '*setup.cfg' '*pyproject.toml' | xargs -0r rm -f --
