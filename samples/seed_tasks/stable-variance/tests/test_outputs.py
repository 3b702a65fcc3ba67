import random
import resource
import statistics
import subprocess


def moments(lines):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (120 << 20, 120 << 20))

    done = subprocess.run(["python3", "/app/moments.py"], input=lines, text=True, timeout=60,
                          capture_output=True, preexec_fn=limit)
    assert done.returncode == 0, done.stderr[-500:]
    count, mean, variance = done.stdout.split()
    return int(count), float(mean), float(variance)


def test_small_noise_on_large_values():
    numbers = random.Random(4)
    values = [1e9 + numbers.gauss(0, 1e-3) for _ in range(5000)]
    count, mean, variance = moments("\n".join(map(repr, values)))
    assert count == 5000
    assert abs(mean - statistics.fmean(values)) < 1e-6
    assert abs(variance / statistics.variance(values) - 1) < 1e-6


def test_a_long_input_in_little_memory():
    count, mean, variance = moments("3.5\n4.5\n" * 1_500_000)
    assert (count, round(mean, 9), round(variance, 6)) == (3_000_000, 4.0, 0.25)
