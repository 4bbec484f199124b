"""What is installed, as package metadata tells it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
from distributions import Install

from m2m.core.errors import M2MError
from m2m.core.plugins import discovery, registry


def listed(name: str) -> registry.Component:
    return next(c for c in registry.components() if c.name == name)


def test_listed_without_import(install: Install) -> None:
    install("quiet-one", "raise RuntimeError('imported')")
    found = listed("quiet-one")
    assert (found.kind, found.distribution, found.version, found.status) == ("encoder", "quiet-one", "1.0", "ok")
    assert found.summary == "A made-up plugin"
    assert "quiet_one" not in sys.modules


def test_two_claimants(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("first", "raise RuntimeError", entries="shared = first:Encoder")
    install("second", version="3.1", entries="shared = second:Encoder")
    found = listed("shared")
    assert found.status == "conflict"
    with pytest.raises(M2MError, match=r"(first 1\.0 and second 3\.1|second 3\.1 and first 1\.0) both claim the name"):
        registry.load("encoder", "shared")
    monkeypatch.setenv("M2M_LOAD_PLUGINS", "second")
    assert registry.load("encoder", "shared").__module__ == "second"


def test_a_built_ins_name_cannot_be_taken(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("usurper", entries="onsets-frames = usurper:Encoder")
    with pytest.raises(M2MError, match="usurper") as caught:
        registry.load("encoder", "onsets-frames")
    assert "m2m" in str(caught.value)
    monkeypatch.setenv("M2M_LOAD_PLUGINS", "")
    assert registry.load("encoder", "onsets-frames").__module__ == "m2m.encoders.onsets_frames"


def test_load_plugins_limits_what_may_be_loaded(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("my-friend")
    install("a-stranger")
    monkeypatch.setenv("M2M_LOAD_PLUGINS", "My_Friend")
    assert registry.load("encoder", "my-friend")
    assert listed("a-stranger").status == "disabled"
    with pytest.raises(M2MError, match="a-stranger is not in M2M_LOAD_PLUGINS"):
        registry.load("encoder", "a-stranger")


def test_a_known_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    table = discovery.table()
    monkeypatch.setattr(discovery, "table", lambda: table | {"vocoders": {"pghi": {"package": "m2m-pghi"}}})
    with pytest.raises(M2MError, match="not installed: pip install m2m-pghi"):
        registry.load("vocoder", "pghi")


def test_damaged_metadata_hurts_nobody(install: Install) -> None:
    install("whole-one")
    install("no-sense", entries="this line makes no sense\nworse = = [\n\x1b[31mred = x:y")
    bare = install("bare-one")
    (bare / "METADATA").unlink()
    binary = install("binary-one")
    (binary / "entry_points.txt").write_bytes(b"[m2m.encoders]\nx = \xff\xfe:y\n")
    names = [c.name for c in registry.components("encoder")]
    assert "whole-one" in names
    assert "bare-one" in names
    assert all(name.isprintable() for name in names)
    assert listed("bare-one").distribution in ("bare-one", "bare_one")
    with pytest.raises(M2MError, match="no-sense 1.0 cannot be imported"):
        registry.load("encoder", "worse")
    assert registry.load("encoder", "whole-one")


def test_a_scan_is_remembered_until_a_folder_of_the_path_changes(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, scan = install("first-one").parent, discovery._scan
    scans: list[str | None] = []

    def counted(allowed: str | None) -> Iterator[discovery.Component]:
        scans.append(allowed)
        return scan(allowed)

    monkeypatch.setattr(sys, "path", [str(site)])
    monkeypatch.setattr(discovery, "_scan", counted)

    def names() -> set[str]:
        return {component.name for component in registry.components("encoder") if component.status == "ok"}

    os.utime(site, (1e9, 1e9))
    assert "first-one" in names() & names()
    assert len(scans) == 1
    install("second-one")  # now: a file system with coarse times could not tell one more installation
    assert "second-one" in names() & names()
    assert len(scans) == 3
    os.utime(site, (2e9, 2e9))  # a clock that goes wrong
    assert "second-one" in names() & names()
    assert len(scans) == 5
    os.utime(site, (1e9 + 1, 1e9 + 1))
    monkeypatch.setenv("M2M_LOAD_PLUGINS", "first-one")
    assert "second-one" not in names() | names()
    assert len(scans) == 6
