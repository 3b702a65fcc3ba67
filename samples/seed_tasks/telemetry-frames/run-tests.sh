#!/bin/bash
python3 -m pytest -rA "${TEST_DIR:-/tests}/test_outputs.py"
