"""Measure the floor under throughput.py: a bare loop of `requests`, with a Session per thread.

  python benchmarks/floor.py --root ROOT --url URL/v1 --workers 256 [--files] [--ca-bundle FILE]

Sends each prompt of ROOT/prompt/ once and prints one JSON line: wall and CPU seconds of the loop
alone (prompts are in memory before it starts, imports are not counted). With --files each answer is
put on disk as a record is: JSON, temporary name, fsync, rename. There is no retry, no ledger, no
proxy (trust_env is off) and no check of the answer: this is what a call costs at the least.
"""
import argparse
import json
import os
import resource
import threading
import time
from pathlib import Path

import requests


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--root", type=Path, required=True)
    p.add_argument("--url", required=True)
    p.add_argument("--workers", type=int, required=True)
    p.add_argument("--files", action="store_true")
    p.add_argument("--ca-bundle", default="")
    args = p.parse_args()
    files = sorted((args.root / "prompt").glob("*.json"))
    prompts = [prompt for path in files for prompt in json.loads(path.read_bytes())]
    items, lock, n_ok = iter(enumerate(prompts)), threading.Lock(), 0
    folder = args.root / "floor"
    folder.mkdir(exist_ok=True)

    def work():
        nonlocal n_ok
        session = requests.Session()
        session.trust_env = False
        session.verify = args.ca_bundle or True
        while True:
            with lock:
                i, prompt = next(items, (None, None))
            if prompt is None:
                return
            body = {"model": "mock", "messages": prompt["messages"], "temperature": 1.0,
                    "max_tokens": 1024}
            reply = session.post(args.url + "/chat/completions", json=body, timeout=(10, 300))
            text = reply.json()["choices"][0]["message"]["content"]
            if args.files:
                _put(folder / f"{i}.json", {**prompt, "king": text})
            with lock:
                n_ok += bool(text)

    threads = [threading.Thread(target=work) for _ in range(args.workers)]
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"n_ok": n_ok, "wall_s": time.monotonic() - started, "cpu_s": cpu_s}))


def _put(path: Path, record: dict) -> None:
    tmp = path.with_name("_tmp." + path.name)
    with open(tmp, "w", encoding="utf-8") as file:
        json.dump(record, file, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(tmp, path)


if __name__ == "__main__":
    main()
