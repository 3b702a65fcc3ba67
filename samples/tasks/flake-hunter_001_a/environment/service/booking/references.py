import random

from .config import get_settings

LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"

random.seed(get_settings().reference_seed)


def next_reference() -> str:
    return "BK-" + "".join(random.choice(LETTERS) for _ in range(6))
