import sys

values = [float(line) for line in sys.stdin.read().split()]
count = len(values)
mean = sum(values) / count
variance = (sum(value * value for value in values) - count * mean * mean) / (count - 1)
print(count, repr(mean), repr(variance))
