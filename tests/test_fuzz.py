"""Damaged and hostile files: each is answered or named in one line; and the campaign would notice where one is not."""

import io
import random
import re
import signal
import struct
import sys
import zlib

import pytest
from PIL import Image

import misbehaving
from benchmarks import fuzz, fuzz_files
from benchmarks.fuzz_inputs import ANSWERED, KINDS, OUTSIDE, film
from benchmarks.fuzz_worker import ANSWERS, CRASH, HANG, NAMED, PICTURES, WRONG
from conftest import ROOT
from find_data import DataError
from glasses.classifiers import WEIGHTS, open_network
from glasses.output import one_line
from tables import read_corrections, read_table

linux = pytest.mark.skipif(sys.platform != "linux", reason="limits and memory are asked of Linux")


@linux
@pytest.mark.parametrize(("kind", "count"), [(PICTURES, 300), ("films", 60)])
def test_damaged_pictures_and_films_are_answered_or_named(kind, count):
    outcomes = fuzz.campaign(kind, count, seed=1, with_bombs=False)
    wrong = outcomes[~outcomes["outcome"].isin([ANSWERS, NAMED])]
    assert wrong.empty, wrong.to_string()
    assert sorted(outcomes["number"]) == list(range(count))
    assert {ANSWERS, NAMED} == set(outcomes["outcome"]), "both are tried"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("films", "frames")])
def test_other_damaged_files_are_answered_or_named(kind, tmp_path, capfd):
    whole, lines = list(KINDS[kind].files()), []
    for number in range(60):
        case = fuzz_files.mutated(number, 1, whole, changes=KINDS[kind].changes)
        folder = tmp_path / str(number)
        folder.mkdir()
        lines.append(KINDS[kind].read(folder / KINDS[kind].name, case.content))
        assert one_line(lines[-1]) == lines[-1].strip(), f"{number}: {case.form} ({case.change})"
    assert len(set(lines)) > 2
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(map(str, range(60)))
    assert capfd.readouterr() == ("", "")


# ------------------------------------------------------------------------------- would the campaign notice?


@linux
def test_what_is_wrong_is_noticed_and_the_rest_is_done(monkeypatch, tmp_path):
    monkeypatch.setattr(fuzz, "SECONDS", 1)
    outcomes = fuzz.campaign("forms", 13, seed=0, keep=tmp_path, worker=misbehaving.work).set_index("number")
    assert outcomes["outcome"].to_dict() == {
        0: ANSWERS, 1: CRASH, 2: HANG, 3: WRONG, 4: WRONG, 5: WRONG, 6: WRONG, 7: WRONG, 8: WRONG, 9: WRONG, 10: WRONG,
        11: NAMED, 12: ANSWERS,
    }  # fmt: skip
    for number, words in {
        1: f"ended by -{signal.SIGSEGV:d}",
        2: "longer than 1 s",
        3: "KeyError: 'not promised'",
        4: "not one line",
        5: "words of a library",
        7: "/etc/passwd to read",
        8: "os.system",
        9: "MemoryError",
        11: "an error",
    }.items():
        assert words in outcomes.loc[number, "line"]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(f"forms-{number}" for number in range(1, 11))
    table = fuzz.summary("forms", outcomes.reset_index())
    assert table[[ANSWERS, NAMED, WRONG, CRASH, HANG]].to_numpy().tolist() == [[2, 1, 8, 1, 1]]


# ------------------------------------------------------------------------------------------- hostile files


@pytest.mark.parametrize("kind", KINDS)
def test_whole_files_are_answered_and_hostile_ones_refused_in_a_line(kind, tmp_path, capfd):
    outside = tmp_path / OUTSIDE
    outside.mkdir()
    (outside / "data.bin").write_bytes(bytes(5_000_000))
    (outside / "film.ts").write_bytes(film("mpegts", "mpeg2video"))
    hostile = {"networks": ",", "weights": ",", "films": "film, a ", "frames": "frame, eps"}.get(kind, "nothing")
    lines = []
    for number, (form, content) in enumerate(KINDS[kind].files()):
        case = tmp_path / f"case{number}"
        case.mkdir()
        line = KINDS[kind].read(case / KINDS[kind].name, content)
        assert line == one_line(line)
        assert (line == ANSWERED) <= (hostile not in form), form
        lines.append(line)
    assert lines[0] == ANSWERED
    assert sorted(path.name for path in outside.iterdir()) == ["data.bin", "film.ts"]
    assert {path.name.rstrip("0123456789") for path in tmp_path.iterdir()} == {"case", OUTSIDE}
    assert capfd.readouterr() == ("", "")


def test_onnx_runtime_prints_nothing_of_a_network_that_it_cannot_name(tmp_path, capfd):
    """Words of the file that are no UTF-8 in its message are an error on the way, after which it would try again."""
    content = (WEIGHTS / "glasses.onnx").read_bytes()
    (tmp_path / "a.onnx").write_bytes(content.replace(b"DequantizeLinear", b"Dequantize\xffinear"))
    with pytest.raises(ValueError, match="does not hold a network of this project"):
        open_network(tmp_path / "a.onnx")
    assert capfd.readouterr() == ("", "")


def test_words_of_a_table_reach_no_terminal_as_they_are(tmp_path):
    (tmp_path / "labels.csv").write_text("na\x1b[31mme,b\na.jpg,1\n")
    with pytest.raises(DataError, match=r"only na\\x1b\[31mme, b; add it"):
        read_table(tmp_path / "labels.csv", "x", ("file",))
    (tmp_path / "c.csv").write_text("source,file,kind\nlfw,a\x1b[31m.jpg,monocle\n")
    with pytest.raises(DataError, match=r"a\\x1b\[31m\.jpg has the unknown kind"):
        read_corrections(tmp_path / "c.csv")


# ------------------------------------------------------------------------------------ what damages the files


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    return dict(fuzz_files.seeds())


def test_whole_files_are_read_and_of_many_formats(whole):
    formats = {form.split(",")[0] for form in whole}
    assert {"jpeg", "png", "gif", "webp", "bmp", "tiff", "avif", "jpeg 2000", "ico", "ppm", "psd", "fits"} <= formats
    for form, content in whole.items():
        if "heic" not in form:
            with Image.open(io.BytesIO(content)) as picture:
                assert min(picture.size) > 50, form
                if form != "eps, RGB":
                    picture.load()


def test_a_file_s_number_makes_it(whole):
    files = list(whole.items())
    first = [fuzz_files.mutated(number, 0, files) for number in range(60)]
    assert first == [fuzz_files.mutated(number, 0, files) for number in range(60)]
    assert first != [fuzz_files.mutated(number, 1, files) for number in range(60)]
    assert sum(case.content != whole[case.form] for case in first) > 50


@pytest.mark.parametrize("form", ["png", "jpeg, EXIF and ICC", "webp, animated", "avif"])
def test_blocks_are_taken_apart_and_put_together_again(whole, form):
    pieces, join = fuzz_files.split(whole[form])
    assert len(pieces) > 2
    assert join(pieces) == whole[form]


def test_altered_chunks_of_a_png_have_right_checksums(whole):
    found = 0
    for seed in range(200):
        content = fuzz_files.blocks(random.Random(seed), whole["png"])
        at = 8
        while at < len(content):
            size = struct.unpack_from(">I", content, at)[0]
            piece = content[at + 4 : at + 8 + size]
            assert struct.unpack_from(">I", content, at + 8 + size)[0] == zlib.crc32(piece)
            at += 12 + size
        found += content != whole["png"]
    assert found > 150


# ------------------------------------------------------------------------------------------------- no pickles


def test_no_pickle_is_read():
    """torch.load reads weights alone, numpy no objects; pickle is imported for the name of its error."""
    files = [*ROOT.glob("*.py"), *(file for name in FOLDERS for file in (ROOT / name).glob("*.py"))]
    assert len(files) > 80
    for file in files:
        text = file.read_text()
        calls = re.findall(r"torch\.load\([^)]*\)", text)
        assert all("weights_only=True" in call for call in calls), file
        assert not re.search(
            r"pickle\.loads?\(|Unpickler|allow_pickle=True|joblib|dill|marshal|shelve|yaml\.load\(", text
        ), file


FOLDERS = ("glasses", "detector_architectures", "benchmarks", "synthetic", "web", "kaggle_kernels")
