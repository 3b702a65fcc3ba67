def wade(depth):
    return 2 * depth

def fly():
    return 'away'
