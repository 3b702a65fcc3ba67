#!/bin/bash
set -euo pipefail
cat > /app/layers.py <<'END'
import configparser
import sys

merged = configparser.ConfigParser(interpolation=None)
merged.optionxform = str
merged.read(sys.argv[1:], encoding="utf-8")
parts = []
for section in sorted(merged.sections()):
    keys = {key: value for key, value in merged[section].items() if value != "!unset"}
    if keys:
        lines = [f"{key} = {keys[key]}" for key in sorted(keys)]
        parts.append("\n".join([f"[{section}]", *lines]))
print("\n\n".join(parts))
END
