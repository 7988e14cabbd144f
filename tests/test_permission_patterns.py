"""The evaluator of grants (nacos/permission) says of each grant and resource what real servers say of them."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.accounts import nacos_account
from harness.mounts import BINARY, PROJECT
from harness.nacos_admin import NacosError

BUILD = BINARY.parent
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

# In {N} stands the namespace of the test.
GRANTS = [
    "{N}:*:*", "{N}:APP:*", "{N}:APP:config/app.yaml", "{N}:APP:config/app*", "{N}:*:config/*.yaml", "{N}:APP",
    "{N}:APP:", "*", "*:*:*", "{N}*", ":*:*", "public:*:*", "public:APP:config/app.yaml", ":APP:*", "{N}::config/app.yaml",
    # live marks
    "{N}:APP:config/app.y?ml", "{N}:A.P:config/app.yaml", "{N}:APP:config/[ab]pp*", "{N}:APP:config/[^a]*",
    "{N}:[A-P]+:*", "{N}:[*]:config/[*]", "{N}:APP:config/app\\.yaml", "{N}:APP:config/app\\*yaml", "{N}:(APP|OPS):*",
    "({N}|public):APP:*", "{N}:APP:config/a(pp)?.*", "{N}:APP:config/ap{2}\\.yaml", "{N}:APP:config/[a-z.]{8}",
    "{N}:APP:config/(a|ap|app)+*", "^{N}:APP:*$", "{N}:\\w+:config/\\w+\\.\\w+", "{N}:\\D*:*", "{N}:APP:config/app.yaml|x",
    "{N}:.:config/.", "{N}:.*.*.*:*", "{N}:APP:config/*.*.*.*l", "{N}:app:*", "{N}:*:config/a??p.yaml", "{N}:APP:config/[a-c]pp.yaml",
    "{N}:[]A]PP:*", "{N}:APP:config/]", "{N}:APP:config/a}",
    # what java.util.regex refuses, or what is not understood here
    "[", "(", "{N}:APP:config/[", "{N}:(APP:*", "{N}:APP):*", "+{N}:*", "{N}:APP:config/a{", "{N}:APP:config/[z-a]", "{N}:\\",
    "{N}:APP:**+", "{N}:APP:config/a++*", "(?i){N}:app:*", "{N}:(?=APP)*", "\\Q{N}\\E:*", "{N}:[A&&A]PP:*", "{N}:APP:\\p{L}*",
]

RESOURCES = [
    ("{N}", "APP", "app.yaml"), ("{N}", "APP", "app.json"), ("{N}", "APP", "a"), ("{N}", "OPS", "bpp.yaml"), ("{N}", "A.P", "app.yaml"),
    ("{N}", "APP", "app...yaml"), ("{N}", "APP", "]"), ("{N}", "app", "x"), ("public", "APP", "app.yaml"),
    ("{N}", "", ""), ("{N}", "APP", ""),
]


NAME_PHRASES = (b"invalid dataId", b"invalid group", b"illegal characters", b"not present")


@pytest.fixture(scope="module")
def evaluate(tmp_path_factory):
    """evaluate(version, [(grant, (namespace, group, dataId)), ...]) -> ["1", "0", "-", ...]"""
    program = tmp_path_factory.mktemp("permission") / "permission_match"
    subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-I.", *(SANITIZE if BUILD.name == "build-asan" else []),
                    "-o", program, "tests/harness/permission_match.c", BUILD / "libnacosfs.a",
                    "-lcurl", "-lcrypto", "-lcjson", "-pthread"], cwd=PROJECT, check=True)

    def run(version, questions):
        lines = "".join("\t".join((version, grant, *place)) + "\n" for grant, place in questions)
        return subprocess.run([program], input=lines, capture_output=True, text=True, check=True).stdout.split()

    return run


def server_says(calls, place):
    """1 and 0 as the server decides; "-" when it can't."""
    namespace, group, data_id = place
    version_3 = calls.generation == "3.1.0"
    names = ("namespaceId", "groupName") if version_3 else ("tenant", "group")
    query = {names[0]: calls.namespace_id(namespace), names[1]: group, "dataId": data_id}
    path = "/v3/client/cs/config" if version_3 else "/v1/cs/configs"
    if not data_id:
        path = "/v3/admin/cs/config/list" if version_3 else path
        query |= {"search": "accurate", "appName": "no-such-app", "pageNo": 1, "pageSize": 1}
        if group and calls.generation == "1.4.1":
            query |= {"search": "blur", "dataId": "*"}
    try:
        calls._call("GET", path, query)
    except NacosError as error:
        # That a name is no good, or that there is none, is found out only after the right was.
        if error.status == 404 or any(phrase in error.body for phrase in NAME_PHRASES):
            return "1"
        return "0" if error.status == 403 else f"-{error.status} {error.body[:100]!r}"
    return "1"


@pytest.mark.parametrize("generation", ["1.4.1", "2.2.4", "3.1.0"])
def test_grants_mean_what_they_mean_on_servers(generation, nacos_of, space_of, evaluate):
    space = space_of(nacos_of(generation))
    admin = space.server.admin

    def fill(text):
        return text.replace("{N}", space.namespace)

    def ask(grants):
        """Each grant, alone: what the server says of each resource."""
        answers = {}
        with nacos_account(space.server) as account:
            calls = account.calls
            for grant in grants:
                permission = {"role": account.role, "resource": fill(grant), "action": "r"}
                admin._call("POST", admin.permission_path, form=permission)
                answers[grant] = [server_says(calls, tuple(map(fill, place))) for place in RESOURCES]
                admin._call("DELETE", admin.permission_path, permission)
        return answers

    with ThreadPoolExecutor(3) as pool:
        by_grant = {grant: row for part in pool.map(ask, (GRANTS[first::3] for first in range(3))) for grant, row in part.items()}
    answers = [answer for grant in GRANTS for answer in by_grant[grant]]
    pairs = [(fill(grant), tuple(map(fill, place))) for grant in GRANTS for place in RESOURCES]
    ours = evaluate(generation, pairs)
    more = [(*pair, theirs) for pair, mine, theirs in zip(pairs, ours, answers) if mine == "1" and theirs != "1"]
    less = [(*pair, theirs) for pair, mine, theirs in zip(pairs, ours, answers) if mine == "0" and theirs == "1"]
    refused = sorted({pair[0] for pair, mine in zip(pairs, ours) if mine == "-"})
    print({theirs for theirs in answers if theirs[0] == "-"})
    stricter = sorted({pair[0] for pair, mine, theirs in zip(pairs, ours, answers) if mine == "-" and theirs == "1"})
    print(f"\n{generation}: {len(pairs)} pairs, {answers.count('1')} granted; grants of nothing: {len(refused)}, "
          f"of which the server understands {stricter}; errors of the server: {sum(a[0] == '-' for a in answers)}")
    assert more == [] and less == []
    assert all(any(mark in grant for mark in ("(?", "\\Q", "&&", "\\p", "*+", "++", "[]")) for grant in stricter)
