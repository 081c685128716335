"""Which API bases and keys are taken."""

from __future__ import annotations

import pytest

from discretion import KEY, assert_discreet
from jtv_cli.embedders.api.endpoint import check_key, parse_base
from jtv_cli.errors import UsageError


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://api.jina.ai", "https://api.jina.ai:443/v1/embeddings"),
        (" https://API.jina.ai/ ", "https://api.jina.ai:443/v1/embeddings"),
        ("https://api.jina.ai./v1", "https://api.jina.ai:443/v1/embeddings"),
        ("http://host:7997/v1//", "http://host:7997/v1/embeddings"),
        ("http://host/embeddings", "http://host:80/embeddings"),
        ("http://host/v1/embeddings/", "http://host:80/v1/embeddings"),
        ("http://my_host/gateway", "http://my_host:80/gateway/v1/embeddings"),
        ("HTTP://[::1]:8080/", "http://[::1]:8080/v1/embeddings"),
    ],
)
def test_bases(base: str, url: str) -> None:
    assert parse_base(base).url == url


@pytest.mark.parametrize(
    "base",
    [
        "",
        "api.jina.ai",
        "ftp://api.jina.ai",
        "file:///etc/passwd",
        "https://",
        "https:///v1",
        "https://user:hunter2@api.jina.ai",
        "https://hunter2@api.jina.ai",
        "https://api.jina.ai?key=hunter2",
        "https://api.jina.ai/v1?",
        "https://api.jina.ai#hunter2",
        "https://api.jina.ai:99999",
        "https://api.jina.ai:x",
        "https://[::1",
        "https://[hunter2]",
        "https://api.jina.ai\\.example.com",
        "https://api.jina.ai\n.example.com",
        "https://api jina.ai",
        "https://äpi.jina.ai",
        "https://api..jina.ai",
        f"https://{'a' * 64}.example.com",
        f"https://{'a' * 60_000}",
    ],
)
def test_bases_that_are_refused(base: str) -> None:
    with pytest.raises(UsageError, match="the API base") as caught:
        parse_base(base)
    assert_discreet(caught.value)


@pytest.mark.parametrize(
    ("base", "key", "words"),
    [
        ("http://api.jina.ai", KEY, "over plain http to api.jina.ai"),
        ("http://embeddings.example.com", KEY, "over plain http to embeddings.example.com"),
        ("http://127.0.0.1.example.com", KEY, "over plain http"),
        ("http://localhost.example.com", KEY, "over plain http"),
        ("http://128.0.0.1", KEY, "over plain http"),
        ("http://0.0.0.0", KEY, "over plain http"),
        ("http://127.1", KEY, "over plain http"),
        ("https://api.jina.ai", None, "needs an API key; set JINA_API_KEY"),
        ("https://api.jina.ai", " \n", "needs an API key"),
        ("https://eu.api.jina.ai", "", "needs an API key"),
        ("https://api.jina.ai", "hunter2\nX-Evil: 1", "characters"),
        ("https://api.jina.ai", "hunter2\x00", "characters"),
        ("https://api.jina.ai", "hunter2 hunter2", "characters"),
        ("https://api.jina.ai", "hunter2€", "characters"),
        ("https://api.jina.ai", "hunter2é", "characters"),
    ],
)
def test_keys_that_are_refused(base: str, key: str | None, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        check_key(key, parse_base(base))
    assert_discreet(caught.value)
