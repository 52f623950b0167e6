"""The blob store: every blob is complete and matches its name."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.storage.blobs import BlobStore, BlobStoreError, HashMismatch


def name_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def put(store: BlobStore, content: bytes, name: str | None = None) -> bool:
    incoming = store.writer(name or name_of(content))
    try:
        incoming.write(content)
        return incoming.keep()
    finally:
        incoming.close()


def files(store: BlobStore) -> list[str]:
    return [path.name for path in store.directory.rglob("*") if path.is_file() and path.name != "store-id"]


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    store = BlobStore(tmp_path / "blobs")
    store.claim("mine", is_new=True)
    return store


@given(st.lists(st.binary(max_size=50), max_size=6))
def test_a_stored_blob_is_read_back_and_kept_once(contents: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = BlobStore(Path(directory))
        seen: set[bytes] = set()
        for content in contents:
            assert put(store, content) is (content not in seen)
            seen.add(content)
        assert {name: b"".join(store.read(name)) for name in files(store)} == {name_of(each): each for each in seen}


def test_content_under_another_name_is_refused_and_nothing_is_left(store: BlobStore) -> None:
    with pytest.raises(HashMismatch) as caught:
        put(store, b"one", name_of(b"two"))
    assert caught.value.found == name_of(b"one")
    assert files(store) == []


def test_an_interrupted_write_leaves_nothing(store: BlobStore) -> None:
    incoming = store.writer(name_of(b"whole"))
    incoming.write(b"who")
    incoming.close()
    assert files(store) == []


def test_a_damaged_blob_is_reported_once_and_deleted(store: BlobStore) -> None:
    put(store, b"good")
    name = name_of(b"good")
    store._path(name).write_bytes(b"evil")
    with pytest.raises(HashMismatch):
        list(store.read(name))
    assert store.size(name) is None
    assert put(store, b"good")


def test_only_what_is_unwanted_and_old_is_removed(store: BlobStore) -> None:
    old, young, wanted = b"old", b"young", b"wanted"
    for content in (old, young, wanted):
        put(store, content)
    for content in (old, wanted):
        os.utime(store._path(name_of(content)), (1000, 1000))
    assert store.collect({name_of(wanted)}, before=2000 * 1_000_000) == 1
    assert sorted(files(store)) == sorted([name_of(young), name_of(wanted)])
    assert store.touch(name_of(wanted))
    assert store.collect(set(), before=2000 * 1_000_000) == 0
    assert not store.touch(name_of(old))


def test_a_store_is_one_database_s(store: BlobStore, tmp_path: Path) -> None:
    store.claim("mine", is_new=False)
    store.claim("mine", is_new=True)
    with pytest.raises(BlobStoreError, match=r"is the blob store of another database; name this one's folder"):
        store.claim("theirs", is_new=True)
    with pytest.raises(BlobStoreError, match=r"is not the blob store of this database.*mount the folder"):
        BlobStore(tmp_path / "unmounted").claim("mine", is_new=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(BlobStoreError, match=r"cannot use .* for blobs: .*; name another folder with ASSAYER_BLOBS"):
        BlobStore(tmp_path / "file" / "below").claim("mine", is_new=True)
