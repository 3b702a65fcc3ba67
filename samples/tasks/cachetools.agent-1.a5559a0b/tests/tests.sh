#!/usr/bin/env bash
# Run the tests: in the source folder. Reports go to /tmp/results.
set -uo pipefail
export LC_ALL=C.UTF-8
export PBR_VERSION=8.0.0
export PDM_BUILD_SCM_VERSION=8.0.0
export POETRY_DYNAMIC_VERSIONING_BYPASS=8.0.0
export PYTHONHASHSEED=0
export SETUPTOOLS_SCM_PRETEND_VERSION_FOR_CACHETOOLS=8.0.0
. /opt/venv/bin/activate
rm -rf /tmp/results
mkdir -p /tmp/results
python -m pytest -v -rfEs --tb=short -o cache_dir=/tmp/pytest_cache -o junit_family=xunit1 --junitxml=/tmp/results/pytest.xml --continue-on-collection-errors --maxfail=0 --timeout=120 --no-cov tests
