"""The command that summarises a sweep again."""

import pytest

from specs_lab.report import main


def test_a_folder_without_jobs_is_a_user_error(tmp_path, capsys):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(SystemExit) as stopped:
            main([str(folder)])
        assert stopped.value.code == 2
        assert "no finished jobs" in capsys.readouterr().err
