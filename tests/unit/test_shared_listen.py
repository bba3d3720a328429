"""Ports: the next free one is taken and said; other troubles are not hidden."""

import errno

import pytest

from shared.listen import listen, listen_near


def test_the_next_free_port_is_taken_and_said() -> None:
    said: list[int] = []
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with listen_near("127.0.0.1", port, said.append) as near:
            assert near.getsockname()[1] == said[0] > port


def test_a_free_port_is_taken_in_silence() -> None:
    said: list[int] = []
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
    with listen_near("127.0.0.1", port, said.append) as again:
        assert again.getsockname()[1] == port
    assert said == []


def test_an_address_that_is_not_ours_is_said_at_once() -> None:
    with pytest.raises(OSError) as caught:
        listen_near("192.0.2.1", 8000, lambda port: None)
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_a_port_in_use_is_refused_where_it_was_asked_for() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(OSError) as caught:
        listen("127.0.0.1", taken.getsockname()[1])
    assert caught.value.errno == errno.EADDRINUSE


def test_both_address_families() -> None:
    try:
        sock = listen("::1", 0)
    except OSError as error:
        assert error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    else:
        sock.close()
