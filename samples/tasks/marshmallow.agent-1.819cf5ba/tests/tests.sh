#!/usr/bin/env bash
# Run the tests: in the source folder. Reports go to /tmp/results.
set -uo pipefail
export LC_ALL=C.UTF-8
export PYTHONHASHSEED=0
. /opt/venv/bin/activate
rm -rf /tmp/results
mkdir -p /tmp/results
python -m pytest -v -rfEs --tb=short -o cache_dir=/tmp/pytest_cache -o junit_family=xunit1 --junitxml=/tmp/results/pytest.xml --continue-on-collection-errors --maxfail=0 --timeout=120 tests
