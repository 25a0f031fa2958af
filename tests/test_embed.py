"""`glasses embed`: the file it writes, and what an interruption leaves."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colour_blocks import SIZE, by_hand
from glasses import GlassesPipeline, embed_command
from glasses.recognizer import Recognizer
from test_cli import call


@pytest.fixture
def photos(tmp_path, hopper, astronaut) -> Path:
    """Five files: one that is no picture, two portraits, a picture of both, one of nobody."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a broken.jpg").write_text("not a picture")
    shutil.copy(hopper, folder / "b hopper.jpg")
    shutil.copy(astronaut, folder / "c.png")
    both = [np.asarray(Image.open(photo).convert("RGB").resize((512, 512))) for photo in (astronaut, hopper)]
    Image.fromarray(np.hstack(both)).save(folder / "d both.png")
    Image.new("RGB", (300, 200), "teal").save(folder / "e nobody.png")
    return folder


def test_the_file_has_a_row_a_photo(capsys, network, photos, tmp_path):
    status, out, err = call(capsys, "embed", photos, "--output", tmp_path / "faces.npz", "--model", network)
    assert (status, out) == (1, "")
    told = err.splitlines()
    assert told[0].startswith(f"glasses: {photos / 'a broken.jpg'}: not a picture")
    assert told[1:] == ["3 of 4 photos with a face, 1 could not be read"]
    with np.load(tmp_path / "faces.npz", allow_pickle=False) as file:
        table = dict(file)
    assert list(table["path"]) == [str(path) for path in sorted(photos.iterdir())]
    assert (table["embedding"].shape, table["embedding"].dtype) == ((5, SIZE), np.float32)
    assert np.isnan(table["embedding"]).all(1).tolist() == np.isnan(table["box"]).all(1).tolist()
    assert np.isnan(table["embedding"]).any(1).tolist() == [True, False, False, False, True]
    assert np.linalg.norm(table["embedding"][1:4], axis=1) == pytest.approx(1, abs=1e-5)
    assert table["face"].tolist() == [-1, 0, 0, 0, -1]
    assert [bool(error) for error in table["error"]] == [True, False, False, False, False]
    assert float(table["threshold"]) == pytest.approx(0.8)
    assert str(table["network"]) == hashlib.sha256(network.read_bytes()).hexdigest()
    answers = list(GlassesPipeline(recognizer=Recognizer(network))(table["path"][1:4].tolist()))
    for row, answer in enumerate(answers, 1):
        face = answer.faces[0]
        assert table["box"][row].tolist() == list(face.box)
        assert table["embedding"][row] == pytest.approx(by_hand(face.chip), abs=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces.npz", "photos"]


def test_with_all_there_is_a_row_a_face(capsys, network, photos, tmp_path):
    call(capsys, "embed", photos, "--output", tmp_path / "faces.npz", "--model", network, "--all")
    table = np.load(tmp_path / "faces.npz")
    names = [Path(path).name for path in table["path"]]
    assert names == ["a broken.jpg", "b hopper.jpg", "c.png", "d both.png", "d both.png", "e nobody.png"]
    assert table["face"].tolist() == [-1, 0, 0, 0, 1, -1]
    similar = table["embedding"] @ table["embedding"].T
    assert max(similar[1, 3], similar[1, 4]) > 0.8 > min(similar[1, 3], similar[1, 4]), "Hopper is one of the two"


def stop_after(monkeypatch, count: int) -> None:
    """Ctrl-C when so many photos are done."""
    answers_from = embed_command.answers_from

    def stopping(photos, done, pipeline):
        for number, answer in enumerate(answers_from(photos, done, pipeline), done):
            if number == count:
                raise KeyboardInterrupt
            yield answer

    monkeypatch.setattr(embed_command, "answers_from", stopping)


def test_an_interrupted_run_is_completed_to_the_same_file(capsys, monkeypatch, network, photos, tmp_path):
    whole, file = tmp_path / "whole.npz", tmp_path / "faces.npz"
    command = ["embed", photos, "--all", "--model", network]
    call(capsys, *command, "--output", whole)
    with monkeypatch.context() as patched:
        stop_after(patched, 3)
        with pytest.raises(KeyboardInterrupt):
            call(capsys, *command, "--output", file)
    assert "3 answers are kept in" in capsys.readouterr().err
    assert not file.exists()
    status, _, err = call(capsys, *command, "--output", file)
    assert status == 2
    assert "--resume completes them" in err
    status, _, err = call(capsys, "embed", photos, "--model", network, "--output", file, "--resume")
    assert status == 2
    assert "all was True and is False" in err
    asked = []
    cut = GlassesPipeline._cut_faces
    monkeypatch.setattr(GlassesPipeline, "_cut_faces", lambda self, source: asked.append(source) or cut(self, source))
    status, _, err = call(capsys, *command, "--output", file, "--resume")
    assert status == 1
    assert err.splitlines()[-1] == "3 of 4 photos with a face, 1 could not be read"
    assert file.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces.npz", "photos", "whole.npz"]


def test_an_older_file_stays_until_the_new_one_is_whole(capsys, monkeypatch, network, photos, tmp_path):
    file = tmp_path / "faces.npz"
    file.write_bytes(b"older")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    command = ["embed", photos / "c.png", "--output", file, "--model", network]
    with monkeypatch.context() as patched:
        patched.setattr(embed_command.np, "savez_compressed", full)
        with pytest.raises(embed_command.OutputError, match=r"cannot write .*faces\.npz: No space left"):
            call(capsys, *command)
    assert file.read_bytes() == b"older"
    assert "1 answers are kept in" in capsys.readouterr().err
    assert call(capsys, *command, "--resume")[0] == 0
    assert np.load(file)["embedding"].shape == (1, SIZE)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("faces.csv", "must end in .npz"),
        ("", "needs the name of a file"),
        ("nowhere/faces.npz", "there is no folder nowhere"),
        ("/dev/stdout", "is not a regular file"),
    ],
)
def test_an_output_that_cannot_be_is_refused(capsys, hopper, output, message):
    status, out, err = call(capsys, "embed", hopper, "--output", output)
    assert (status, out) == (2, "")
    assert message in err.splitlines()[-1]


def test_without_an_output_it_is_asked_for(capsys, hopper):
    status, _, err = call(capsys, "embed", hopper)
    assert status == 2
    assert "--output" in err.splitlines()[-1]


def test_where_nothing_can_be_read_the_file_says_so(capsys, network, tmp_path):
    status, _, _ = call(capsys, "embed", tmp_path / "gone.jpg", "--output", tmp_path / "a.npz", "--model", network)
    table = np.load(tmp_path / "a.npz")
    assert status == 1
    assert table["embedding"].shape == (1, SIZE)
    assert np.isnan(table["embedding"]).all()
    assert table["error"].tolist() == ["no such file"]
