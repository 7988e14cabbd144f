"""Watches a directory with watchdog, and prints "event name content" for each event."""

import sys
import time
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer


class Printer(FileSystemEventHandler):
    def on_any_event(self, event: FileSystemEvent) -> None:
        file = Path(event.src_path)
        try:
            content = "" if event.is_directory else file.read_text().strip()
        except OSError:
            content = ""
        if not event.is_directory and event.event_type not in ("opened", "closed_no_write"):
            print(event.event_type, file.name, content, flush=True)


observer = Observer()
observer.schedule(Printer(), sys.argv[1])
observer.start()
print("ready", flush=True)
while True:
    time.sleep(3600)
