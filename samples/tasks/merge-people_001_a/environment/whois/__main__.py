import argparse
import logging

from .app import create_app
from .store import Store


def main():
    parser = argparse.ArgumentParser(prog="python3 -m whois")
    parser.add_argument("--db", default="whois.db")
    parser.add_argument("--port", type=int, default=8060)
    given = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    create_app(Store(given.db)).run("127.0.0.1", given.port, threaded=True)


if __name__ == "__main__":
    main()
