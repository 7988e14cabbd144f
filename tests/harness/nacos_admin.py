"""An admin's view of a Nacos server over HTTP, for preparing and checking what the filesystem under test does.

It shares nothing with the filesystem's own code. `connect(server)` returns the right class for a server described by
`serverctl`; all of them offer the same interface. Everywhere `public` names the default namespace.
"""

from __future__ import annotations

import hashlib
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from dataclasses import dataclass
from email.message import Message
from typing import Any, Callable, Iterable

REQUEST_TIMEOUT = 60
WAIT_TIMEOUT = 15
# Not shorter: a reader that holds the node's cache lock makes the server put its refresh off by a whole second.
POLL_INTERVAL = 0.05
PAGE_SIZE = 500

_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class NacosError(Exception):
    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"HTTP {status}: {body[:500].decode(errors='replace')}")
        self.status = status
        self.body = body


@dataclass(frozen=True)
class Answer:
    body: bytes
    headers: Message

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Entry:
    """A row of a listing."""

    group: str
    data_id: str
    type: str
    app: str


@dataclass(frozen=True)
class Detail:
    """One config with all that is stored with it; what is not set is empty."""

    content: bytes
    md5: str
    type: str
    desc: str
    tags: frozenset[str]
    app: str
    encrypted_data_key: str
    modified_ms: int
    user: str


@dataclass(frozen=True)
class HistoryRow:
    """`op` is I, U or D. The content is what was inserted (I), or what was there before the change (U, D)."""

    id: str
    op: str
    content: bytes
    md5: str
    user: str
    modified: str


class NacosAdmin(ABC):
    generation: str
    login_path: str
    user_path: str
    role_path: str
    permission_path: str

    def __init__(self, url: str, console_url: str | None = None, username: str | None = "nacos",
                 password: str = "nacos") -> None:
        self.url = url
        self.console_url = console_url
        self.username = username
        self.password = password
        self._token: str | None = None

    # ------------------------------------------------------------ access

    def as_user(self, username: str | None, password: str = "") -> NacosAdmin:
        """The same interface with another user's rights; None sends no token at all."""
        return type(self)(self.url, self.console_url, username, password)

    def token_of(self, username: str, password: str) -> str:
        """Logs the user in; NacosError if the server refuses."""
        answer = self._send("POST", self.url + self.login_path, form={"username": username, "password": password})
        return answer.json()["accessToken"]

    def login(self) -> str:
        self._token = self.token_of(self.username, self.password)
        return self._token

    def create_user(self, username: str, password: str) -> None:
        self._call("POST", self.user_path, form={"username": username, "password": password})

    def delete_user(self, username: str) -> None:
        self._call("DELETE", self.user_path, {"username": username})

    def add_role(self, role: str, username: str) -> None:
        self._call("POST", self.role_path, form={"role": role, "username": username})

    def remove_role(self, role: str, username: str) -> None:
        self._call("DELETE", self.role_path, {"role": role, "username": username})

    def grant(self, role: str, ns: str, group: str = "*", data_id: str = "*", action: str = "rw") -> None:
        """`action` is r, w or rw; `*` stands for any group or any data id."""
        self._call("POST", self.permission_path, form=self._permission(role, ns, group, data_id, action))

    def revoke(self, role: str, ns: str, group: str = "*", data_id: str = "*", action: str = "rw") -> None:
        self._call("DELETE", self.permission_path, self._permission(role, ns, group, data_id, action))

    def _permission(self, role: str, ns: str, group: str, data_id: str, action: str) -> dict[str, str]:
        name = "*" if data_id == "*" else f"config/{data_id}"
        return {"role": role, "resource": f"{self.namespace_id(ns)}:{group}:{name}", "action": action}

    # ------------------------------------------------------------ namespaces

    @abstractmethod
    def namespace_id(self, ns: str) -> str:
        """What the server calls the namespace; differs for `public` only."""

    @abstractmethod
    def create_namespace(self, ns: str, name: str | None = None) -> None: ...

    @abstractmethod
    def delete_namespace(self, ns: str) -> None:
        """Its configs stay, as the server keeps them; see delete_all()."""

    # ------------------------------------------------------------ configs

    @abstractmethod
    def read(self, ns: str, group: str, data_id: str) -> tuple[bytes, str] | None:
        """Content and type as the node serves them to clients; None if absent."""

    @abstractmethod
    def detail(self, ns: str, group: str, data_id: str) -> Detail | None:
        """The config as stored; None if absent."""

    @abstractmethod
    def list(self, ns: str, group: str = "") -> list[Entry]:
        """All configs of the namespace (or of one group in it), sorted."""

    @abstractmethod
    def history(self, ns: str, group: str, data_id: str) -> list[HistoryRow]:
        """Newest first."""

    @abstractmethod
    def _publish(self, ns: str, group: str, data_id: str, content: bytes, options: dict[str, str],
                 headers: dict[str, str]) -> None: ...

    @abstractmethod
    def _delete(self, ns: str, group: str, data_id: str) -> None: ...

    def get(self, ns: str, group: str, data_id: str) -> bytes | None:
        """Exactly the bytes the node serves; None if absent."""
        found = self.read(ns, group, data_id)
        return None if found is None else found[0]

    def publish(self, ns: str, group: str, data_id: str, content: bytes | str, *, type: str | None = None,
                desc: str | None = None, tags: Iterable[str] | None = None, app: str | None = None,
                encrypted_data_key: str | None = None, beta_ips: Iterable[str] = (), wait: bool = True) -> None:
        """Creates or overwrites. As in Nacos, an overwrite drops desc and type unless they are given again.

        With `wait` it returns when the node serves the new content; not for beta, which is served to few clients.
        """
        content = content.encode() if isinstance(content, str) else content
        options = {"type": type, "desc": desc, "app": app, "encrypted_data_key": encrypted_data_key,
                   "tags": None if tags is None else ",".join(tags)}
        headers = {"betaIps": ",".join(beta_ips)} if beta_ips else {}
        self._publish(ns, group, data_id, content, {k: v for k, v in options.items() if v is not None}, headers)
        if wait and not beta_ips:
            self._wait(lambda: self._serves(ns, group, data_id, content, type),
                       f"{ns}/{group}/{data_id} to be served")

    def delete(self, ns: str, group: str, data_id: str, *, wait: bool = True) -> None:
        """Deleting what is absent succeeds."""
        self._delete(ns, group, data_id)
        if wait:
            self._wait(lambda: self.read(ns, group, data_id) is None, f"{ns}/{group}/{data_id} to be gone")

    def delete_all(self, ns: str) -> None:
        for entry in self.list(ns):
            self.delete(ns, entry.group, entry.data_id, wait=False)

    def _serves(self, ns: str, group: str, data_id: str, content: bytes, type_: str | None) -> bool:
        found = self.read(ns, group, data_id)
        return found is not None and found[0] == content and type_ in (None, found[1])

    @staticmethod
    def _wait(is_done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WAIT_TIMEOUT
        while not is_done():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {WAIT_TIMEOUT} s for {what}")
            time.sleep(POLL_INTERVAL)

    # ------------------------------------------------------------ HTTP

    def _call(self, method: str, path: str, query: dict[str, Any] | None = None,
              form: dict[str, Any] | None = None, headers: dict[str, str] | None = None) -> Answer:
        """One request as this user. A token that has expired meanwhile is renewed."""
        if self.username is None:
            return self._send(method, self.url + path, query, form, headers)

        def with_token(token: str) -> Answer:
            return self._send(method, self.url + path, query, form,
                              {"Authorization": f"Bearer {token}", **(headers or {})})

        try:
            return with_token(self._token or self.login())
        except NacosError as error:
            if error.status != 403 or b"token" not in error.body:
                raise
        return with_token(self.login())

    @staticmethod
    def _send(method: str, url: str, query: dict[str, Any] | None = None, form: dict[str, Any] | None = None,
              headers: dict[str, str] | None = None) -> Answer:
        if query:
            url += "?" + urllib.parse.urlencode(query)
        headers = dict(headers or {})
        body = None
        if form is not None:
            body = urllib.parse.urlencode(form).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded;charset=UTF-8"
        request = urllib.request.Request(url, data=body, method=method, headers=headers)
        try:
            with _open(request, timeout=REQUEST_TIMEOUT) as response:
                return Answer(response.read(), response.headers)
        except urllib.error.HTTPError as error:
            with error:
                raise NacosError(error.code, error.read()) from None


class NacosAdmin2(NacosAdmin):
    """2.2.4, over the v1 API."""

    generation = "2.2.4"
    login_path = "/v1/auth/users/login"
    user_path = "/v1/auth/users"
    role_path = "/v1/auth/roles"
    permission_path = "/v1/auth/permissions"

    def namespace_id(self, ns: str) -> str:
        return "" if ns == "public" else ns

    def create_namespace(self, ns: str, name: str | None = None) -> None:
        """Nothing to do: the test server has no console, hence no list of namespaces; any id can be used."""

    def delete_namespace(self, ns: str) -> None:
        """Nothing to do, see create_namespace()."""

    def _key(self, ns: str, group: str, data_id: str) -> dict[str, str]:
        return {"tenant": self.namespace_id(ns), "group": group, "dataId": data_id}

    def read(self, ns: str, group: str, data_id: str) -> tuple[bytes, str] | None:
        deadline = time.monotonic() + WAIT_TIMEOUT
        while True:
            try:
                answer = self._call("GET", "/v1/cs/configs", self._key(ns, group, data_id))
                return answer.body, answer.headers["Config-Type"]
            except NacosError as error:
                if error.status == 404:
                    return None
                # 409: the node is just taking over a change of this config.
                if error.status != 409 or time.monotonic() > deadline:
                    raise
            time.sleep(POLL_INTERVAL)

    def detail(self, ns: str, group: str, data_id: str) -> Detail | None:
        query = {"show": "all", **self._key(ns, group, data_id)}
        try:
            answer = self._call("GET", "/v1/cs/configs", query)
        except NacosError as error:
            # It was removed between the server's two looks at it.
            if b"configAdvance" not in error.body:
                raise
            answer = self._call("GET", "/v1/cs/configs", query)
        return _detail(answer.json()) if answer.body else None

    def list(self, ns: str, group: str = "") -> list[Entry]:
        def page(number: int) -> dict[str, Any]:
            return self._call("GET", "/v1/cs/configs", {
                "search": "accurate", **self._key(ns, group, ""), "pageNo": number, "pageSize": PAGE_SIZE}).json()

        return sorted((Entry(row["group"], row["dataId"], row["type"] or "", row["appName"] or "")
                       for row in _all_pages(page)), key=_name)

    def history(self, ns: str, group: str, data_id: str) -> list[HistoryRow]:
        key = self._key(ns, group, data_id)

        def page(number: int) -> dict[str, Any]:
            return self._call("GET", "/v1/cs/history", {
                "search": "accurate", **key, "pageNo": number, "pageSize": PAGE_SIZE}).json()

        return [_history_row(self._call("GET", "/v1/cs/history", {"nid": row["id"], **key}).json())
                for row in _all_pages(page)]

    def _publish(self, ns: str, group: str, data_id: str, content: bytes, options: dict[str, str],
                 headers: dict[str, str]) -> None:
        if "encrypted_data_key" in options:
            raise ValueError("up to 2.2 an encrypted data key cannot be sent over HTTP")
        names = {"tags": "config_tags", "app": "appName"}
        form = {**self._key(ns, group, data_id), "content": content,
                **{names.get(k, k): v for k, v in options.items()}}
        answer = self._call("POST", "/v1/cs/configs", form=form, headers=headers)
        if answer.body != b"true":
            raise NacosError(200, answer.body)

    def _delete(self, ns: str, group: str, data_id: str) -> None:
        self._call("DELETE", "/v1/cs/configs", self._key(ns, group, data_id))


class NacosAdmin1(NacosAdmin2):
    """1.4.1: the same API, and its test server has the console."""

    generation = "1.4.1"

    def create_namespace(self, ns: str, name: str | None = None) -> None:
        self._call("POST", "/v1/console/namespaces", form={"customNamespaceId": ns, "namespaceName": name or ns,
                                                           "namespaceDesc": ""})

    def delete_namespace(self, ns: str) -> None:
        self._call("DELETE", "/v1/console/namespaces", {"namespaceId": ns})


class NacosAdmin3(NacosAdmin):
    """3.1.0, over the v3 API."""

    generation = "3.1.0"
    login_path = "/v3/auth/user/login"
    user_path = "/v3/auth/user"
    role_path = "/v3/auth/role"
    permission_path = "/v3/auth/permission"
    NOT_FOUND = 20004

    def namespace_id(self, ns: str) -> str:
        return ns

    def create_namespace(self, ns: str, name: str | None = None) -> None:
        self._call("POST", "/v3/admin/core/namespace", form={"namespaceId": ns, "namespaceName": name or ns})

    def delete_namespace(self, ns: str) -> None:
        self._call("DELETE", "/v3/admin/core/namespace", {"namespaceId": ns})

    @staticmethod
    def _key(ns: str, group: str, data_id: str) -> dict[str, str]:
        return {"namespaceId": ns, "groupName": group, "dataId": data_id}

    def _get_data(self, path: str, query: dict[str, Any]) -> Any:
        """The `data` of an answer; None if the server knows no such thing."""
        try:
            answer = self._call("GET", path, query).json()
        except NacosError as error:
            if error.status == 404 and json.loads(error.body).get("code") == self.NOT_FOUND:
                return None
            raise
        if answer["code"] == self.NOT_FOUND:
            return None
        if answer["code"] != 0:
            raise NacosError(200, json.dumps(answer).encode())
        return answer["data"]

    def read(self, ns: str, group: str, data_id: str) -> tuple[bytes, str] | None:
        data = self._get_data("/v3/client/cs/config", self._key(ns, group, data_id))
        return (data["content"].encode(), data["contentType"]) if data else None

    def detail(self, ns: str, group: str, data_id: str) -> Detail | None:
        try:
            data = self._get_data("/v3/admin/cs/config", self._key(ns, group, data_id))
        except NacosError as error:
            # What the server says when it is removed just then.
            if b"Cannot invoke" not in error.body:
                raise
            data = self._get_data("/v3/admin/cs/config", self._key(ns, group, data_id))
        return _detail(data) if data else None

    def list(self, ns: str, group: str = "") -> list[Entry]:
        def page(number: int) -> dict[str, Any]:
            return self._get_data("/v3/admin/cs/config/list", {
                "search": "accurate", **self._key(ns, group, ""), "pageNo": number, "pageSize": PAGE_SIZE})

        return sorted((Entry(row["groupName"], row["dataId"], row["type"] or "", row["appName"] or "")
                       for row in _all_pages(page)), key=_name)

    def history(self, ns: str, group: str, data_id: str) -> list[HistoryRow]:
        key = self._key(ns, group, data_id)

        def page(number: int) -> dict[str, Any]:
            return self._get_data("/v3/admin/cs/history/list", {**key, "pageNo": number, "pageSize": PAGE_SIZE})

        return [_history_row(self._get_data("/v3/admin/cs/history", {"nid": row["id"], **key}))
                for row in _all_pages(page)]

    def _publish(self, ns: str, group: str, data_id: str, content: bytes, options: dict[str, str],
                 headers: dict[str, str]) -> None:
        names = {"tags": "configTags", "app": "appName", "encrypted_data_key": "encryptedDataKey"}
        form = {**self._key(ns, group, data_id), "content": content,
                **{names.get(k, k): v for k, v in options.items()}}
        answer = self._call("POST", "/v3/admin/cs/config", form=form, headers=headers)
        if answer.json()["code"] != 0:
            raise NacosError(200, answer.body)

    def _delete(self, ns: str, group: str, data_id: str) -> None:
        self._call("DELETE", "/v3/admin/cs/config", self._key(ns, group, data_id))


def connect(server: dict[str, Any]) -> NacosAdmin:
    """The admin of a server described by serverctl."""
    kinds = {kind.generation: kind for kind in (NacosAdmin1, NacosAdmin2, NacosAdmin3)}
    return kinds[server["generation"]](server["url"], server["console_url"])


def md5_hex(content: bytes | str) -> str:
    return hashlib.md5(content.encode() if isinstance(content, str) else content).hexdigest()


def _name(entry: Entry) -> tuple[str, str]:
    return entry.group, entry.data_id


def _all_pages(page: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    number = 1
    while True:
        found = page(number)
        rows += found["pageItems"]
        if number >= found["pagesAvailable"]:
            return rows
        number += 1


def _detail(data: dict[str, Any]) -> Detail:
    return Detail(content=data["content"].encode(), md5=data["md5"], type=data["type"] or "", desc=data["desc"] or "",
                  tags=frozenset(filter(None, (data["configTags"] or "").split(","))), app=data["appName"] or "",
                  encrypted_data_key=data.get("encryptedDataKey") or "", modified_ms=int(data["modifyTime"]),
                  user=data["createUser"] or "")


def _history_row(data: dict[str, Any]) -> HistoryRow:
    return HistoryRow(id=str(data["id"]), op=data["opType"].strip(), content=(data["content"] or "").encode(),
                      md5=data["md5"] or "", user=data["srcUser"] or "",
                      modified=str(data.get("modifyTime") or data.get("lastModifiedTime")))
