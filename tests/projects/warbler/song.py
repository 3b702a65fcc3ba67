import warbler


def tune(i):
    return chr(97 + i)
