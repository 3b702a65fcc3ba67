#!/bin/bash
gold=$(cd "$(dirname "$0")" && pwd)/gold.patch
cd {workdir} && git -c safe.directory='*' apply --whitespace=nowarn "$gold"
