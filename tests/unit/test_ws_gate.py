"""Who may knock: hosts, origins, addresses behind proxies, limits."""

import pytest
from starlette.datastructures import Headers

from shared.settings import Settings
from ws_service.endpoints.sockets import client_address
from ws_service.gate import Gate
from ws_service.limits import Admission, MessageRate
from ws_service.node import trusted_networks


def gate(*origins: str, auth: str = "none") -> Gate:
    return Gate(Settings(_env_file=None, auth=auth, allowed_origins=",".join(origins)))


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "127.0.0.1:8000", True),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", True),
        ("http://127.0.0.1:8001", "127.0.0.1:8000", False),
        ("http://LOCALHOST:8000", "localhost:8000", True),
        ("https://app.example.com", "app.example.com", True),
        ("https://app.example.com:443", "app.example.com", True),
        ("https://app.example.com", "app.example.com:80", False),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("null", "127.0.0.1:8000", False),
        ("", "127.0.0.1:8000", False),
        ("http://evil.example", "127.0.0.1:8000", False),
        ("http://127.0.0.1:8000.evil.example", "127.0.0.1:8000", False),
        ("file://", "127.0.0.1:8000", False),
        ("http://", "127.0.0.1:8000", False),
        ("http://[", "127.0.0.1:8000", False),
        ("null", "null", False),
        ("http://a", None, False),
    ],
)
def test_origin_same(origin: str | None, host: str | None, allowed: bool) -> None:
    assert gate().origin(origin, host) is allowed


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:3000", True),
        ("http://localhost:65535", True),
        ("http://localhost", True),
        ("https://localhost:3000", False),
        ("http://localhost:3000/", False),
        ("http://localhost:3000.evil.example", False),
        ("http://localhost.evil.example:3000", False),
        ("https://app.example.com", True),
        ("https://APP.example.com", True),
        ("https://app.example.com:444", False),
        ("https://appxexample.com", False),
        ("null", False),
    ],
)
def test_origin_listed(origin: str, allowed: bool) -> None:
    assert gate("http://localhost:*", "https://app.example.com").origin(origin, "127.0.0.1:8000") is allowed


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:8000", True),
        ("127.1.2.3", True),
        ("localhost", True),
        ("LocalHost:99", True),
        ("[::1]:8000", True),
        ("shop.example.com", True),
        ("shop.example.com:8443", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("10.0.0.1", False),
        ("", False),
        (None, False),
        ("[::1", False),
        ("localhost@evil.example", False),
    ],
)
def test_host(host: str | None, allowed: bool) -> None:
    assert gate("https://shop.example.com").host(host) is allowed


@pytest.mark.parametrize(
    ("forwarded", "trusted", "address"),
    [
        ("1.2.3.4", (), "10.0.0.1"),
        ("1.2.3.4", ("10.0.0.0/8",), "1.2.3.4"),
        ("6.6.6.6, 1.2.3.4", ("10.0.0.0/8",), "1.2.3.4"),
        ("1.2.3.4, 10.0.0.2", ("10.0.0.0/8",), "1.2.3.4"),
        ("10.0.0.3, 10.0.0.2", ("10.0.0.0/8",), "10.0.0.3"),
        ("1.2.3.4", ("192.168.0.0/16",), "10.0.0.1"),
        ("", ("10.0.0.1",), "10.0.0.1"),
        ("garbage", ("10.0.0.1",), "10.0.0.1"),
        ("1.2.3.4, garbage", ("10.0.0.1",), "10.0.0.1"),
        ("garbage, 10.0.0.2", ("10.0.0.0/8",), "10.0.0.2"),
        ("203.0.113.7:5123", ("10.0.0.0/8",), "203.0.113.7"),
        ("203.0.113.7, 10.0.0.2:80", ("10.0.0.0/8",), "203.0.113.7"),
        ("203.0.113.7, ::ffff:10.0.0.2", ("10.0.0.0/8",), "203.0.113.7"),
        ("::ffff:203.0.113.7", ("10.0.0.0/8",), "203.0.113.7"),
        ("2001:db8:1:2:3::4", ("10.0.0.0/8",), "2001:db8:1:2::/64"),
        ("[2001:db8:1:2:3::5]", ("10.0.0.0/8",), "2001:db8:1:2::/64"),
        ("[2001:db8:1:2:3::6]:443", ("10.0.0.0/8",), "2001:db8:1:2::/64"),
        ("1.2.3.4, fd00::7%eth0", ("10.0.0.0/8", "fd00::/8"), "1.2.3.4"),
        ("[1.2.3.4", ("10.0.0.0/8",), "10.0.0.1"),
    ],
)
def test_client_address(forwarded: str, trusted: tuple[str, ...], address: str) -> None:
    assert client_address("10.0.0.1", Headers({"x-forwarded-for": forwarded}), trusted_networks(trusted)) == address


@pytest.mark.parametrize(
    ("host", "trusted", "address"),
    [
        ("::ffff:10.1.1.1", ("10.0.0.0/8",), "1.2.3.4"),
        ("::ffff:10.1.1.1", (), "10.1.1.1"),
        ("::ffff:10.1.1.1", ("::ffff:10.0.0.0/104",), "1.2.3.4"),
        ("10.1.1.1", ("::ffff:10.1.1.1",), "1.2.3.4"),
        ("fe80::1%eth0", (), "fe80::/64"),
        ("2001:db8:1:2:3::4", (), "2001:db8:1:2::/64"),
        ("fd00::1", ("fd00::/8",), "1.2.3.4"),
        (None, ("10.0.0.0/8",), "unknown"),
        ("", (), "unknown"),
        ("a socket's path", ("10.0.0.0/8",), "a socket's path"),
    ],
)
def test_peer_address(host: str | None, trusted: tuple[str, ...], address: str) -> None:
    assert client_address(host, Headers({"x-forwarded-for": "1.2.3.4"}), trusted_networks(trusted)) == address


def test_admission_counts_the_node_and_each_address() -> None:
    admission = Admission(3, 2)
    assert admission.enter("a") is None
    assert admission.enter("a") is None
    assert "address" in str(admission.enter("a"))
    assert admission.enter("b") is None
    assert "node" in str(admission.enter("c"))
    admission.leave("a")
    assert admission.enter("c") is None
    assert admission.count == 3


def test_message_rate_recovers() -> None:
    rate = MessageRate(10, 0.0)
    assert all(rate.take(0.0) for _ in range(50))
    assert not rate.take(0.0)
    assert rate.take(1.0)
    assert not rate.excessive
