"""Read deliveries and write the hours: python3 -m meterflow hours --out OUT.csv DELIVERY..."""
import argparse
import sys

from meterflow import deliveries, hours


def main() -> int:
    parser = argparse.ArgumentParser(prog="meterflow")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("hours", help="write kWh by meter and hour")
    command.add_argument("--out", required=True, metavar="OUT.csv")
    command.add_argument("deliveries", nargs="+", metavar="DELIVERY")
    args = parser.parse_args()
    try:
        quarters = deliveries.load(args.deliveries)
    except deliveries.Unusable as error:
        print(f"meterflow: {error}", file=sys.stderr)
        return 1
    hours.write(args.out, quarters)
    return 0


if __name__ == "__main__":
    sys.exit(main())
