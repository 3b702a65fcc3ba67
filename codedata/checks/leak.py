"""Run `codedata.leak` under its earlier name: python -m codedata.checks.leak FILE.jsonl"""
import sys

from codedata.leak.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
