import random

numbers = random.Random(31)
for _ in range(1200):
    x, y = numbers.uniform(-4, 4), numbers.uniform(-4, 4)
    label = int((x - 0.7) ** 2 + (y + 0.4) ** 2 < 4.8)
    print(f"{x:.4f},{y:.4f},{1 - label if numbers.random() < 0.08 else label}")
