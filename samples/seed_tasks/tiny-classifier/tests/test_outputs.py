import random
import subprocess


def test_held_out_rows():
    numbers = random.Random(99)
    points = [(numbers.uniform(-4, 4), numbers.uniform(-4, 4)) for _ in range(500)]
    lines = "".join(f"{x:.4f},{y:.4f}\n" for x, y in points)
    done = subprocess.run(["/usr/bin/python3", "-I", "/app/classify.py"], input=lines, text=True,
                          capture_output=True, timeout=20)
    labels = done.stdout.split()
    assert len(labels) == 500, done.stderr[-500:]
    right = [int((x - 0.7) ** 2 + (y + 0.4) ** 2 < 4.8) for x, y in points]
    assert sum(str(a) == b for a, b in zip(right, labels, strict=True)) >= 450
