"""Makes lost.pack: a pack of a small repository, without some of its blocks."""
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

rng = random.Random(9)
places = [f"sensors/{name}.csv" for name in ("intake", "boiler", "roof")] + ["notes.txt"]
lines = {place: [f"{rng.randrange(10 ** 6)};{rng.random():.6f};{place}" for _ in range(90)] for place in places}
with tempfile.TemporaryDirectory() as folder:
    def run(*words, **more):
        settings = "-c", "pack.threads=1", "-c", "user.name=ops", "-c", "user.email=ops@plant.example"
        subprocess.run(["git", *settings, *words], cwd=folder, check=True, env=os.environ | more)

    run("init", "-q")
    Path(folder, "sensors").mkdir()
    for day in range(24):
        for place in places:
            if not day or rng.random() < 0.6:
                lines[place][rng.randrange(90)] = f"{day};{rng.random():.9f};{rng.randbytes(20).hex()}"
            Path(folder, place).write_text("\n".join(lines[place]) + "\n")
        when = f"{1700000000 + 86400 * day} +0000"
        run("add", ".")
        run("commit", "-q", "--allow-empty", "-m", f"Day {day}", GIT_AUTHOR_DATE=when, GIT_COMMITTER_DATE=when)
    run("repack", "-adfq")
    data = next(Path(folder, ".git/objects/pack").glob("*.pack")).read_bytes()
blocks = [data[at:at + 512] for at in range(0, len(data), 512)]
lost = {len(blocks) // 4, len(blocks) // 2, len(blocks) // 2 + 1, len(blocks) * 4 // 5}
Path(sys.argv[1]).write_bytes(b"".join(block for k, block in enumerate(blocks) if k not in lost))
