"""How the volume is divided between the database and the files."""

import pytest

from dormouse_router.settings import BUCKET, GIB, STORAGE, Settings

POSTGRES, S3 = {"DORMOUSE_DATABASE_URL": "postgresql://host/name"}, {"DORMOUSE_FILES": "s3://bucket/a/b"}


@pytest.mark.parametrize(
    ("env", "database", "files"),
    [
        ({}, STORAGE // 4, STORAGE * 9 // 10 - STORAGE // 4),
        ({"DORMOUSE_STORAGE_SIZE": "1Gi"}, GIB, 0),
        ({"DORMOUSE_STORAGE_SIZE": "100Gi"}, 25 * GIB, 65 * GIB),
        (POSTGRES, 0, STORAGE * 9 // 10),
        (S3, STORAGE, BUCKET),
        (S3 | {"DORMOUSE_FILES_SIZE": "1Gi"}, STORAGE, GIB),
        ({"DORMOUSE_FILES_SIZE": "3Gi"}, STORAGE // 4, 3 * GIB),
    ],
)
def test_shares(env: dict[str, str], database: int, files: int) -> None:
    settings = Settings.from_env(env)
    assert (settings.database_bytes, settings.files_bytes) == (database, files)


def test_the_defaults_are_those_of_an_empty_environment() -> None:
    assert Settings.from_env({}) == Settings()


@pytest.mark.parametrize("value", ["/var/lib", "file://", "s3://", "gs://bucket", "memory"])
def test_a_place_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="DORMOUSE_FILES must be one of"):
        Settings.from_env({"DORMOUSE_FILES": value})
