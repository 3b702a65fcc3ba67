#!/bin/bash
# The reward is written by verify.py, last of all; without one of its own, Harbor reports an error.
python=$(command -v python3 || command -v python)
exec "$python" -I "$(dirname "$0")/verify.py"
