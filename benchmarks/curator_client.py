"""Run bespokelabs-curator, throughput.py's peer, over the same prompts at the same concurrency.

  CURATOR_PYTHON benchmarks/curator_client.py --root ROOT --url URL/v1 --workers 256

Run by the Python of the environment where curator is installed. Prints one JSON line as its last:
wall and CPU seconds of the call that answers the data set (its import and set-up, 4 to 15 s, are
left out). in_mtok_cost is not set: it is a TypeError for a model that curator does not know. Its
encoding table comes from the copy that litellm ships: it would be fetched from the network
otherwise.
"""
import argparse
import json
import os
import resource
import sys
import time
from importlib.util import find_spec
from pathlib import Path


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--root", type=Path, required=True)
    p.add_argument("--url", required=True)
    p.add_argument("--workers", type=int, required=True)
    args = p.parse_args()
    package = Path(find_spec("litellm").origin).parent
    os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(package / "litellm_core_utils" / "tokenizers"))
    os.environ.update(TELEMETRY_ENABLED="false", CURATOR_CACHE_DIR=str(args.root / "curator"),
                      OPENAI_API_KEY="mock", HF_HUB_OFFLINE="1",
                      HF_HOME=str(args.root / "curator_hf"), LITELLM_LOCAL_MODEL_COST_MAP="True")
    from bespokelabs import curator
    from datasets import Dataset

    class Turns(curator.LLM):
        def prompt(self, row):
            return row["messages"]

        def parse(self, row, response):
            return {"instance_id": row["instance_id"], "king": response}

    files = sorted((args.root / "prompt").glob("*.json"))
    prompts = [prompt for path in files for prompt in json.loads(path.read_bytes())]
    rows = Dataset.from_list([{key: prompt[key] for key in ("instance_id", "messages")}
                              for prompt in prompts])
    backend = {"base_url": args.url, "api_key": "mock", "max_concurrent_requests": args.workers,
               "max_requests_per_minute": 10_000_000, "max_tokens_per_minute": 10_000_000_000}
    ask = Turns(model_name="mock", backend="openai", backend_params=backend,
                generation_params={"temperature": 1.0, "max_tokens": 1024})
    started, before = time.monotonic(), _cpu_s()
    made = ask(rows)
    made = getattr(made, "dataset", made)   # newer versions wrap the data set
    cost = {"n_ok": len(made), "wall_s": time.monotonic() - started, "cpu_s": _cpu_s() - before}
    sys.stdout.flush()
    print("\n" + json.dumps(cost), flush=True)
    os._exit(0)   # its background threads need not be waited for


def _cpu_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
