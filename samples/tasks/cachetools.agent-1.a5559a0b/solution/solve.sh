#!/bin/bash
gold=$(cd "$(dirname "$0")" && pwd)/gold.patch
cd /testbed && git -c safe.directory='*' apply --whitespace=nowarn "$gold"
