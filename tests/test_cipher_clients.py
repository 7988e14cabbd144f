"""`cipher-` configs between the mount and the official clients for Java and Go, through real Nacos servers of two generations:
who writes what, the others read.

Each client is one process that does everything of a server and a key service: a row of the table then costs no start.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator, Protocol

import pytest

from harness.mounts import Mounts, Space, make_space, remove_space
from harness.servers import NacosServer
from harness.waiting import wait_until
from kms.clients import (go_client, go_key_service, go_program, go_server, java_class_path, java_client,  # noqa: F401
                         java_key_service, java_server)
from kms.emulator import Emulator
from test_cipher_kms import options_of

FORMATS = {"aes-256": "cipher-kms-aes-256-", "aes-128": "cipher-kms-aes-128-", "direct": "cipher-"}
# A whole number of blocks, one byte more, characters of one to four bytes, what parsers trip over, and 5 KB.
TEXTS = [b"0123456789abcdef", b"0123456789abcdef\n", "user: 世界 é 😀\npassword: \"p&<>%+=w\"\r\n\t'".encode(),
         "key: 世界\n".encode() * 430]

pytestmark = pytest.mark.slow  # nothing of it is news to a sanitizer


class Party(Protocol):
    def put(self, data_id: str, text: bytes) -> None: ...

    def get(self, data_id: str) -> bytes: ...


@dataclass
class Mounted:
    path: Path

    def put(self, data_id: str, text: bytes) -> None:
        (self.path / data_id).write_bytes(text)

    def get(self, data_id: str) -> bytes:
        return (self.path / data_id).read_bytes()


@dataclass
class Site:
    """One server and one key service, and all who use them."""

    space: Space
    parties: dict[str, Party]
    count: int = 0

    def new_name(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}row-{self.count}"


@pytest.fixture(scope="module", params=["3.1.0-v1", "3.1.0-v3", "2.2.4-v1", "2.2.4-v3"])
def site(request: pytest.FixtureRequest, nacos_of: Callable[[str], NacosServer], tmp_path_factory: pytest.TempPathFactory,
         java_class_path: str, go_program: Path) -> Iterator[Site]:  # noqa: F811
    generation, kind = request.param.split("-")
    server, folder = nacos_of(generation), tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        emulator = stack.enter_context(Emulator(folder))
        space = make_space(server)
        stack.callback(remove_space, space)
        place = (server, space.namespace, space.group)
        mounts = Mounts()
        stack.callback(mounts.close)
        mounted = mounts(*place, options=options_of(emulator, kind))
        java = java_client(java_class_path, folder, {**java_server(*place), **java_key_service(emulator, kind)})
        go = go_client(go_program, folder, {**go_server(*place), **go_key_service(emulator, kind)})
        yield Site(space, {"mount": Mounted(mounted.path), "java": stack.enter_context(java),
                           "go": stack.enter_context(go)})


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("reader", ["mount", "java", "go"])
@pytest.mark.parametrize("writer", ["mount", "java", "go"])
def test_one_writes_another_reads(site: Site, writer: str, reader: str, form: str) -> None:
    for text in TEXTS:
        name = site.new_name(FORMATS[form])
        site.parties[writer].put(name, text)
        wait_until(lambda: site.space.get(name), what=f"{name} to be served")
        stored = site.space.detail(name)
        assert re.fullmatch(rb"[A-Za-z0-9+/]+={0,2}", stored.content)
        assert bool(stored.encrypted_data_key) == (form != "direct")
        assert site.parties[reader].get(name) == text


@pytest.mark.parametrize("form", FORMATS)
def test_all_take_turns_at_one_config(site: Site, form: str) -> None:
    """Each overwrites what another wrote, and all read it."""
    name = site.new_name(FORMATS[form])
    for turn, (writer, party) in enumerate(site.parties.items()):
        text = f"turn: {turn}\nwriter: {writer}\n".encode()
        before = site.space.get(name)
        party.put(name, text)
        wait_until(lambda: site.space.get(name) != before, what=f"the text of {writer} to be served")
        for reader in site.parties.values():
            wait_until(lambda: reader.get(name) == text, what=f"the text of {writer} to be read")
