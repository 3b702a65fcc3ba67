"""Print when a cron expression fires next."""
import argparse
import sys

from .fields import CronError
from .schedule import Schedule, parse_moment


def main(argv=None):
    parser = argparse.ArgumentParser(prog="cronlark", description=__doc__)
    parser.add_argument("expression")
    parser.add_argument("moment", type=parse_moment, help="ISO date and time to start from")
    parser.add_argument("--count", type=int, default=1)
    args = parser.parse_args(argv)
    try:
        for moment in Schedule(args.expression).upcoming(args.moment, args.count):
            print(moment.isoformat(timespec="minutes"))
    except CronError as error:
        print(f"cronlark: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
