"""The program that times retrieval says what it is asked for."""

import pytest

from eval.scale import main


def test_both_directions_are_told_with_seconds_and_memory(capsys):
    main(["--images", "30", "--captions", "2", "--width", "16"])
    said = " ".join(capsys.readouterr().out.split())
    for part in ("image->text", "text->image", "mAP@10", "mean_recall", "GiB at most, cpu"):
        assert part in said


def test_no_images_is_an_error(capsys):
    with pytest.raises(SystemExit):
        main(["--images", "0"])
    assert "at least 1, got (0, 5, 512)" in capsys.readouterr().err
