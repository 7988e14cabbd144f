"""Looks at a file's time again and again, as logback's scan and log4j2's monitorInterval do, and prints its content."""

import sys
import time
from pathlib import Path

files = [Path(sys.argv[1]) / name for name in sys.argv[2:]]


def time_of(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


seen = {file: time_of(file) for file in files}
print("ready", flush=True)
while True:
    for file in files:
        now = time_of(file)
        if now == seen[file]:
            continue
        kind = "created" if not seen[file] else "changed" if now else "deleted"
        print(kind, file.name, file.read_text().strip() if now else "", flush=True)
        seen[file] = now
    time.sleep(0.1)
