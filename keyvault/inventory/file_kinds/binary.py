"""Files that are no text, told by their first bytes."""

from keyvault.inventory.file_kinds.kinds import DECRYPT, OURS, Kind

_UNPACK = "Unpack it, and give the one file that holds the keys."
_STARTS: tuple[tuple[bytes, Kind], ...] = (
    (
        b"PK\x03\x04",
        Kind("zip", "a zip file, such as a 1pux export or an Excel sheet", _UNPACK),
    ),
    (b"PK\x05\x06", Kind("zip", "an empty zip file", _UNPACK)),
    (b"\x1f\x8b", Kind("gzip", "a gzip file", _UNPACK)),
    (b"BZh", Kind("bzip2", "a bzip2 file", _UNPACK)),
    (b"\xfd7zXZ", Kind("xz", "an xz file", _UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", Kind("7z", "a 7z file", _UNPACK)),
    (b"Rar!", Kind("rar", "a rar file", _UNPACK)),
    (b"\x28\xb5\x2f\xfd", Kind("zstd", "a zstd file", _UNPACK)),
    (
        b"\x03\xd9\xa2\x9a",
        Kind("kdbx", "a KeePass database, which is encrypted", "Export the keys first."),
    ),
    (b"SQLite format 3\x00", Kind("sqlite", "an SQLite database", OURS)),
    (b"\x00GITCRYPT", Kind("git_crypt", "a file encrypted by git-crypt", DECRYPT, "git-crypt unlock")),
    (b"age-encryption.org/", Kind("age", "a file encrypted by age", DECRYPT, "age -d FILE")),
    (b"Salted__", Kind("openssl", "a file encrypted by openssl", DECRYPT, "openssl enc -d")),
    (b"%PDF", Kind("pdf", "a PDF document", OURS)),
    (b"\x89PNG", Kind("picture", "a picture", OURS)),
    (b"\xff\xd8\xff", Kind("picture", "a picture", OURS)),
    (b"GIF8", Kind("picture", "a picture", OURS)),
    (b"\xfe\xed\xfe\xed", Kind("keystore", "a Java keystore", OURS)),
    (b"\xd0\xcf\x11\xe0", Kind("office", "an old Office document", OURS)),
    (b"\x7fELF", Kind("program", "a program", OURS)),
    (b"\x30\x82", Kind("pkcs12", "a certificate or a PKCS#12 store", OURS)),
    (b"\x85\x02", Kind("pgp", "a file encrypted by PGP", DECRYPT, "gpg -d FILE")),
    (b"\x85\x01", Kind("pgp", "a file encrypted by PGP", DECRYPT, "gpg -d FILE")),
    (b"\x8c\x0d", Kind("pgp", "a file encrypted by PGP", DECRYPT, "gpg -d FILE")),
)  # fmt: skip


def file_kind(data: bytes) -> Kind | None:
    """Return the kind of a file that is no text; None where it may be one."""
    return next((kind for start, kind in _STARTS if data.startswith(start)), None)
