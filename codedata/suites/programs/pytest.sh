#!/usr/bin/env bash
# Run the tests: in the source folder. Reports go to /tmp/results.
set -uo pipefail
rm -rf /tmp/results
mkdir -p /tmp/results
python3 -m pytest -v -rfEs --tb=short -o cache_dir=/tmp/pytest_cache -o junit_family=xunit1 --junitxml=/tmp/results/pytest.xml --continue-on-collection-errors
