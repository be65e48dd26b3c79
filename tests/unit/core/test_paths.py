"""Relative paths: from the file that names them, else from where the command was given; never a silent choice."""

from pathlib import Path

import pytest
from pydantic import Field

from ksfusion.core.config_block import PATH, Block
from ksfusion.core.errors import UserError
from ksfusion.core.paths import find_path, located, nearest_above


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Return the folder of the table and that of the command; the working directory is a third, the study's."""
    for name in ("table", "command", "study"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "study")
    return [tmp_path / "table", tmp_path / "command"]


def test_the_folder_of_the_table_comes_first_and_that_of_the_command_second(folders):
    (folders[0] / "a.svs").touch()
    (folders[1] / "b.svs").touch()
    assert find_path("a.svs", folders) == "../table/a.svs"
    assert find_path("b.svs", folders) == "../command/b.svs"


def test_a_file_that_is_in_both_is_refused_and_one_file_by_two_ways_is_not(folders, tmp_path):
    for folder in folders:
        (folder / "slides").mkdir()
        (folder / "slides/a.svs").touch()
    with pytest.raises(UserError, match=r"slides/a.svs: may be .*table/slides/a.svs and .*command/slides/a.svs"):
        find_path("slides/a.svs", folders)
    (folders[1] / "b.svs").touch()
    (folders[0] / "b.svs").symlink_to(folders[1] / "b.svs")
    assert find_path("b.svs", folders) == "../table/b.svs"
    # The command was given in the folder of the table.
    assert find_path("slides/a.svs", [folders[0], folders[0]]) == "../table/slides/a.svs"


@pytest.mark.parametrize("path", ["", "missing.svs", "s3://bucket/a.svs", "no/such/folder/a.svs", "a\0b"])
def test_what_leads_nowhere_stays_as_it_is_written(folders, path):
    assert find_path(path, folders) == path


def test_an_absolute_path_stays(folders):
    file = folders[0] / "a.svs"
    file.touch()
    assert find_path(str(file), folders) == str(file)


class Source(Block):
    """A source."""

    file: str = Field(json_schema_extra=PATH)
    name: str = "a.svs"


class Settings(Block):
    """All."""

    sources: list[Source]
    sets: str | dict[str, str] = Field("builtin", json_schema_extra=PATH)
    one: Source = Source(file="missing")


def test_the_paths_of_a_configuration_and_nothing_else_are_brought_to_the_working_directory(folders):
    (folders[0] / "a.svs").touch()
    settings = Settings(sources=[Source(file="a.svs")], sets={"tme": "a.svs", "tumour": "builtin"})
    assert located(settings, folders) == Settings(
        sources=[Source(file="../table/a.svs")], sets={"tme": "../table/a.svs", "tumour": "builtin"}
    )
    assert located(Settings(sources=[]), folders).sets == "builtin"


def test_each_path_that_may_be_two_files_is_a_line(folders):
    for folder in folders:
        for name in ("a", "b"):
            (folder / name).touch()
    with pytest.raises(UserError) as error:
        located(Settings(sources=[Source(file="a"), Source(file="b")]), folders)
    assert [line.split(":")[0] for line in str(error.value).splitlines()] == ["a", "b"]
    assert Path("a").exists() is False


def test_the_nearest_folder_above_what_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    assert nearest_above(tmp_path / "a") == tmp_path / "a"
    assert nearest_above(tmp_path / "a/b/c") == tmp_path / "a"
    # Asked whether it is there, pathlib raises.
    assert nearest_above(tmp_path / ("x" * 300)) == tmp_path
    assert nearest_above("b/c") == tmp_path
