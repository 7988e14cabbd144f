"""Drives interactive programs in a real terminal (tmux): sends keys, reads the screen, polls for what should appear.

    with Terminal(["vim", "app.yaml"], cwd=directory) as terminal:
        terminal.play("?app.yaml", "dd:wq<Enter>")
        assert terminal.wait_exit() == 0
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Mapping, Sequence

import pytest

from harness.waiting import wait_until

WAIT_TIMEOUT = 15
COLUMNS, ROWS = 120, 30
TMUX_SETTINGS = """\
set -g remain-on-exit on
set -g status off
set -sg escape-time 0
"""


class Terminal:
    """One program in a terminal of its own. Its home directory is empty, so that nobody's settings get in."""

    def __init__(self, command: Sequence[str], cwd: Path | str, env: Mapping[str, str] | None = None) -> None:
        if not shutil.which("tmux"):
            pytest.skip("tmux is not installed")
        self.screens: list[str] = []  # all that were seen, each once in a row
        self._dir = Path(tempfile.mkdtemp(prefix="terminal-"))  # a short path: it holds a socket
        home = self._dir / "home"
        home.mkdir()
        (self._dir / "tmux.conf").write_text(TMUX_SETTINGS)
        settings = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "SHELL": "/bin/sh",
                    "TERM": "screen", **(env or {})}
        words = ["env", "-i", *(f"{name}={value}" for name, value in settings.items()), *command]
        self._tmux("-f", str(self._dir / "tmux.conf"), "new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS),
                   "-c", str(cwd), f"{shlex.join(words)}; echo $? > {self._dir}/status")

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._tmux("kill-server", check=False)
        shutil.rmtree(self._dir, ignore_errors=True)

    def play(self, *steps: str) -> Terminal:
        """Each step is text to type, with keys as tmux names them (`:w<Enter>`), or `?` and a pattern to see."""
        for step in steps:
            if step.startswith("?"):
                self.wait_for(step[1:])
            else:
                self._type(step)
        return self

    def wait_for(self, pattern: str, timeout: float = WAIT_TIMEOUT) -> str:
        """Waits until the regular expression is on the screen, and returns the screen."""
        self._wait(lambda: re.search(pattern, self.screen()), f"{pattern!r} on the screen", timeout)
        return self.screens[-1]

    def wait_exit(self, timeout: float = WAIT_TIMEOUT) -> int:
        """Waits for the end of the program, and returns its exit status."""
        status = self._dir / "status"
        self._wait(lambda: status.exists() and status.read_text().strip(), "the program to end", timeout)
        self.screen()
        return int(status.read_text())

    def screen(self) -> str:
        screen = self._tmux("capture-pane", "-p").rstrip()
        if not self.screens or self.screens[-1] != screen:
            self.screens.append(screen)
        return screen

    def _type(self, step: str) -> None:
        for part in re.split(r"(<[A-Za-z0-9-]+>)", step):
            if re.fullmatch(r"<.+>", part):
                self._tmux("send-keys", part[1:-1])
            elif part:
                self._tmux("send-keys", "-l", "--", part)

    def _wait(self, is_done, what: str, timeout: float) -> None:
        try:
            wait_until(is_done, timeout, what)
        except AssertionError as failure:
            raise AssertionError(f"{failure}; the screen:\n{self.screen()}") from None

    def _tmux(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(["tmux", "-S", str(self._dir / "socket"), *arguments], capture_output=True, text=True)
        if check and done.returncode:
            raise RuntimeError(f"tmux {arguments[0]}: {done.stderr.strip()}")
        return done.stdout
