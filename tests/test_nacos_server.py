"""The test servers themselves: what the other tests take for granted about them."""

from __future__ import annotations

import random
import string
import uuid
from typing import Callable, Iterator

import pytest

from harness.nacos_admin import Entry, NacosAdmin, NacosError, md5_hex
from harness.servers import GENERATIONS, NacosServer

GROUP = "APP"


@pytest.fixture(scope="session", params=GENERATIONS)
def nacos(request: pytest.FixtureRequest, nacos_of: Callable[[str], NacosServer]) -> NacosServer:
    """Here the old generation too."""
    return nacos_of(request.param)


def assert_refused(request: Callable[[], object]) -> None:
    with pytest.raises(NacosError) as refusal:
        request()
    assert refusal.value.status == 403


@pytest.fixture
def reader_of_one(nacos: NacosServer, namespace: str) -> Iterator[NacosAdmin]:
    """A user whose only right is to read one.yaml."""
    name = f"user-{uuid.uuid4().hex[:8]}"
    nacos.admin.create_user(name, "secret")
    nacos.admin.add_role(f"role-{name}", name)
    nacos.admin.grant(f"role-{name}", namespace, GROUP, "one.yaml", "r")
    yield nacos.admin.as_user(name, "secret")
    nacos.admin.revoke(f"role-{name}", namespace, GROUP, "one.yaml", "r")
    nacos.admin.remove_role(f"role-{name}", name)
    nacos.admin.delete_user(name)


def test_anonymous_is_refused(nacos: NacosServer, namespace: str) -> None:
    nacos.admin.publish(namespace, GROUP, "one.yaml", "a: 1")
    anonymous = nacos.admin.as_user(None)
    assert_refused(lambda: anonymous.get(namespace, GROUP, "one.yaml"))
    assert_refused(lambda: anonymous.detail(namespace, GROUP, "one.yaml"))
    assert_refused(lambda: anonymous.list(namespace))
    if nacos.generation != "1.4.1":  # its history is open to anyone
        assert_refused(lambda: anonymous.history(namespace, GROUP, "one.yaml"))
    assert_refused(lambda: anonymous.publish(namespace, GROUP, "one.yaml", "a: 2"))
    assert_refused(lambda: anonymous.delete(namespace, GROUP, "one.yaml"))
    assert nacos.admin.get(namespace, GROUP, "one.yaml") == b"a: 1"


def test_wrong_password_is_refused(nacos: NacosServer) -> None:
    with pytest.raises(NacosError) as refusal:
        nacos.admin.token_of("nacos", "wrong")
    # 3.x reports it as a server error.
    assert refusal.value.status in (403, 500)


def test_grant_on_one_config_opens_exactly_that(nacos: NacosServer, namespace: str, reader_of_one: NacosAdmin) -> None:
    nacos.admin.publish(namespace, GROUP, "one.yaml", "a: 1")
    nacos.admin.publish(namespace, GROUP, "two.yaml", "b: 2")
    assert reader_of_one.get(namespace, GROUP, "one.yaml") == b"a: 1"
    assert_refused(lambda: reader_of_one.get(namespace, GROUP, "two.yaml"))
    assert_refused(lambda: reader_of_one.list(namespace))
    assert_refused(lambda: reader_of_one.publish(namespace, GROUP, "one.yaml", "a: 2"))


def test_grants_act_at_once(nacos: NacosServer, namespace: str, reader_of_one: NacosAdmin) -> None:
    role = f"role-{reader_of_one.username}"
    nacos.admin.publish(namespace, GROUP, "two.yaml", "b: 2")
    assert_refused(lambda: reader_of_one.get(namespace, GROUP, "two.yaml"))
    nacos.admin.grant(role, namespace, GROUP, "two.yaml", "r")
    assert reader_of_one.get(namespace, GROUP, "two.yaml") == b"b: 2"
    nacos.admin.revoke(role, namespace, GROUP, "two.yaml", "r")
    assert_refused(lambda: reader_of_one.get(namespace, GROUP, "two.yaml"))


def test_metadata_is_kept_and_listed(nacos: NacosServer, namespace: str) -> None:
    content = "a: é😀\r\n\n"
    nacos.admin.publish(namespace, GROUP, "one.yaml", content, type="yaml", desc="what it is", tags=["x", "y"],
                        app="shop")
    nacos.admin.publish(namespace, "OTHER", "two.json", "{}", type="json")
    detail = nacos.admin.detail(namespace, GROUP, "one.yaml")
    assert detail.content == content.encode()
    assert detail.md5 == md5_hex(content)
    assert (detail.type, detail.desc, detail.tags, detail.app) == ("yaml", "what it is", {"x", "y"}, "shop")
    one = Entry(GROUP, "one.yaml", "yaml", "shop")
    two = Entry("OTHER", "two.json", "json", "")
    assert nacos.admin.list(namespace) == [one, two]
    assert nacos.admin.list(namespace, "OTHER") == [two]


def test_public_namespace(nacos: NacosServer) -> None:
    data_id = f"public-{uuid.uuid4().hex[:8]}"
    nacos.admin.publish("public", GROUP, data_id, "text")
    assert nacos.admin.get("public", GROUP, data_id) == b"text"
    assert data_id in {entry.data_id for entry in nacos.admin.list("public", GROUP)}
    nacos.admin.delete("public", GROUP, data_id)
    assert nacos.admin.detail("public", GROUP, data_id) is None


def test_history_has_one_row_per_publish(nacos: NacosServer, namespace: str) -> None:
    for content in ("1", "2", "3"):
        nacos.admin.publish(namespace, GROUP, "one.yaml", content)
    nacos.admin.delete(namespace, GROUP, "one.yaml")
    rows = nacos.admin.history(namespace, GROUP, "one.yaml")
    assert [(row.op, row.content) for row in rows] == [("D", b"3"), ("U", b"2"), ("U", b"1"), ("I", b"1")]


def test_9_mb_config(nacos: NacosServer, namespace: str) -> None:
    generator = random.Random(9)
    block = "".join(generator.choices(string.printable, k=90_000))
    content = (block * 100).encode()
    nacos.admin.publish(namespace, GROUP, "large.txt", content)
    assert nacos.admin.get(namespace, GROUP, "large.txt") == content


@pytest.mark.parametrize("generation", GENERATIONS)
def test_restart_keeps_data_and_adds_settings(own_nacos: Callable[..., NacosServer], generation: str) -> None:
    server = own_nacos(generation)
    server.admin.publish("public", GROUP, "one.yaml", "kept")
    server.restart({"nacos.core.auth.plugin.nacos.token.expire.seconds": "60"})
    assert server.admin.get("public", GROUP, "one.yaml") == b"kept"
