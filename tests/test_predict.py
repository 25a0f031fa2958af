"""The course's predict.py: `glasses predict`, and torch where it is asked for or needed."""

import json
import subprocess
import sys

import pytest

import predict
from conftest import ROOT
from models import WEIGHTS


def answers(capsys, *arguments) -> list[dict]:
    assert predict.main([*map(str, arguments), "--format", "jsonl"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_torch_and_onnx_runtime_give_the_same_answers(capsys, hopper, astronaut):
    plain = answers(capsys, hopper, astronaut)
    torch = answers(capsys, hopper, astronaut, "--model", WEIGHTS / "glasses.safetensors", "--device", "cpu")
    assert [answer["glasses"] for answer in plain] == [True, False]
    for one, other in zip(plain, torch, strict=True):
        assert one["kind"] == other["kind"]
        assert one["faces"][0]["box"] == other["faces"][0]["box"]
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--device", "tpu9"], "tpu9"),
        (["--device", "cuda", "--model", "x.onnx"], "runs on the CPU, not on cuda"),
        (["--model", "gone.safetensors"], "no weights at gone.safetensors"),
        (["--model", "nonsense"], "nonsense"),
    ],
)
def test_what_cannot_be_used_is_one_line(capsys, hopper, arguments, word):
    assert predict.main([str(hopper), *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("predict.py: ")
    assert word in err
    assert err.count("\n") == 1


def test_it_does_not_wait_for_torch(hopper):
    code = (
        "import sys, predict\n"
        f"assert predict.main([{str(hopper)!r}]) == 0\n"
        "print([name for name in ('torch', 'torchvision', 'pandas', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_works_from_any_folder(tmp_path, hopper):
    command = [sys.executable, str(ROOT / "predict.py"), str(hopper)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "1 of 1 photo with glasses\n")
    assert done.stdout.startswith("Found glasses (")
