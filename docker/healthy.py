"""Exit status 0 when a service is well: healthy.py http URL | tcp HOST PORT | fresh FILE SECONDS | postgres."""

import os
import socket
import sys
import time
import urllib.request


def main(kind: str, *about: str) -> None:
    match kind:
        case "http":
            urllib.request.urlopen(about[0], timeout=4).close()  # noqa: S310 - the compose file names it
        case "tcp":
            socket.create_connection((about[0], int(about[1])), timeout=4).close()
        case "fresh":
            age = time.time() - os.stat(about[0]).st_mtime
            if age > float(about[1]):
                sys.exit(f"{about[0]} was last written {age:.0f} s ago")
        case "postgres":
            import psycopg  # noqa: PLC0415 - the other checks do without it

            psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=4).close()
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
