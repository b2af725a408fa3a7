"""Where networks compute: threads by size, float32 without TF32 on a GPU, and the commands that take a device."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from z1_agent import checkpoint, device
from z1_agent.cli import main
from z1_agent.commands import evaluate, record, serve
from z1_agent.device import place


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    threads, tf32 = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = tf32


def test_only_a_large_network_on_the_cpu_gets_the_threads_that_were_given(
    nano_policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_GIVEN_THREADS", 3)
    policy = nano_policy()
    assert place(policy, "cpu") is policy
    assert torch.get_num_threads() == 1
    monkeypatch.setattr(device, "_LARGE", sum(parameter.numel() for parameter in policy.model.parameters()))
    place(policy, "meta")
    assert torch.get_num_threads() == 1
    place(nano_policy(), "cpu")
    assert torch.get_num_threads() == 3


def test_on_a_gpu_float32_is_float32(nano_policy) -> None:
    assert torch.backends.cudnn.allow_tf32, "torch's default, or nothing is tested"
    place(nano_policy(), "cpu")
    assert torch.backends.cudnn.allow_tf32
    with contextlib.suppress(RuntimeError, AssertionError):  # of a machine without one
        place(nano_policy(), "cuda")
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_patches_keep_all_their_digits_on_a_gpu(nano_policy) -> None:
    patch = place(nano_policy(vision=True), "cuda").model.vision.patch
    images = torch.rand(2, 3, 64, 64, device="cuda")
    torch.testing.assert_close(patch(images), patch.double()(images.double()).float(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("module", "words"),
    [(evaluate, ["eval"]), (record, ["record", "--checkpoint"]), (serve, ["serve"])],
)
def test_policies_of_commands_go_where_they_are_told(
    module, words: list[str], nano_policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    checkpoint.save(tmp_path / "policy", nano_policy(), task="OpenDrawer", backend="kitchen")
    words = [*words, str(tmp_path / "policy"), "--device"]
    assert main([*words, "abacus"]) == 2
    assert "z1: --device 'abacus' is not to be had here" in capsys.readouterr().err

    def tell(_policy: object, where: object) -> None:
        raise ValueError(f"placed on {where}")

    monkeypatch.setattr(module, "place", tell)
    monkeypatch.chdir(tmp_path)
    assert main([*words, "cpu:0"]) == 2
    assert "z1: placed on cpu:0" in capsys.readouterr().err
