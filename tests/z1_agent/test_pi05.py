"""The network against the stored numbers of the public π0.5 code, and what the structure promises."""

import math
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.z1_agent.conftest import REFERENCE_CAMERAS
from z1_agent.flow import flow_matching_error
from z1_agent.openpi_names import from_openpi
from z1_agent.pi05 import Pi05, Prefix, octaves, pi05, pi05_nano, time_embedding
from z1_agent.prefix import pack

PARITY = 1e-5  # float32 on a CPU; sums of up to 816 terms in another order move the last two digits


def close(came, expected, tolerance=PARITY):
    torch.testing.assert_close(came, expected, atol=tolerance, rtol=tolerance)


def test_prefix_mask_and_kv_match_reference(reference, reference_prefix):
    mask = reference_prefix.mask
    assert torch.equal(mask, reference.io["mid.prefix_pad_mask"])  # its first row has every token: nothing to drop
    valid = mask[:, None, ::16, None]
    for layer in (0, 2):
        close(reference_prefix.keys[layer][:, :, ::16] * valid, reference.io[f"mid.prefix_k.{layer}_s"] * valid)
        close(reference_prefix.values[layer][:, :, ::16] * valid, reference.io[f"mid.prefix_v.{layer}_s"] * valid)


def test_packed_rows_match_reference(reference, reference_prefix):
    """The rows behind the first have masked images and tokens: without the first, they are packed."""
    io = reference.io
    images = {c: (io[f"in.image.{c}"][1:].float() / 255 * 2 - 1).permute(0, 3, 1, 2) for c in REFERENCE_CAMERAS}
    masks = {c: io[f"in.image_mask.{c}"][1:] for c in REFERENCE_CAMERAS}
    with torch.no_grad():
        packed = reference.model.encode(io["in.tokens"][1:].long(), io["in.token_mask"][1:], images, masks, None)
        assert packed.mask.shape[1] == reference_prefix.mask[1:].sum(1).max() == 543
        for i in range(5):
            t = io["mid.time_grid"][i][None]
            close(reference.model.velocity(packed, io["in.noise"][1:], t), io[f"out.v.noise_t{i}"][1:])


def test_time_embedding_matches_reference(reference):
    came = time_embedding(reference.io["mid.time_grid"], 48)
    close(came, reference.io["mid.sincos"].float(), 1e-7)


@pytest.mark.parametrize("i", range(5))
def test_velocity_matches_reference(reference, reference_prefix, i):
    t = reference.io["mid.time_grid"][i].expand(3)
    with torch.no_grad():
        close(
            reference.model.velocity(reference_prefix, reference.io["in.noise"], t), reference.io[f"out.v.noise_t{i}"]
        )


def test_gradients_match_reference(reference):
    model, io = reference.model, reference.io
    model.zero_grad()
    prefix = reference.encode()
    error = flow_matching_error(
        lambda x, t: model.velocity(prefix, x, t), io["in.actions"], io["in.noise"], io["in.time"]
    )
    close(error.sqrt(), io["out.loss_elem"].sqrt())
    error.mean().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    stored = [name for name in io if name.startswith("grad.")]
    assert len(stored) == 11
    for name in stored:
        ours = gradients[from_openpi(name.removeprefix("grad."))]
        assert (ours - io[name]).norm() <= PARITY * io[name].norm(), name
    unread = {name for name, gradient in gradients.items() if gradient is None}
    assert unread == set(model.unread())
    model.zero_grad()


def test_parameter_counts():
    with torch.device("meta"):
        full, nano = Pi05(pi05()), Pi05(pi05_nano(scene_width=38, vision=False))
    assert sum(p.numel() for p in full.parameters()) == 3_353_433_872
    assert (
        sum(p.numel() for p in nano.parameters()) == 1_672_268 + 38 * 10 * 4 * 64
    )  # sines and cosines at 5 octaves, for 4 tokens of width 64
    without = Pi05(pi05_nano(scene_width=0, vision=False))
    assert not [name for name, _ in without.named_parameters() if name.startswith(("scene", "vision", "projector"))]


def test_scene_entries_come_with_five_octaves():
    """An entry of π/16 beside one of 0: phases π/16, π/8, π/4, π/2 and π."""
    found = octaves(torch.tensor([[math.pi / 16, 0.0]]))
    phases = math.pi / torch.tensor([16.0, 8, 4, 2, 1])
    expected = [torch.stack([wave, torch.full((5,), at_0)], 1) for wave, at_0 in ((phases.sin(), 0), (phases.cos(), 1))]
    torch.testing.assert_close(found[0, :2], torch.tensor([math.pi / 16, 0.0]))
    torch.testing.assert_close(found[0, 2:], torch.cat(expected).flatten())


def test_the_full_size_does_no_work_that_is_not_needed():
    """Floating-point operations of one chunk at full size (3 images, 200 tokens, H = 50), two per multiplication.

    Trunk, P = 968 tokens, 17 layers and the last one's keys and values:
    P·17·2·(2·2048² + 2·2048·256 + 3·2048·16384) + P·2·2·2048·256 + attention 17·4·8·256·P² = 3.756e12.
    One denoising step, 50 actions that attend to P + 50 tokens, 18 layers:
    50·18·2·(2·1024·2048 + 2·1024·256 + 3·1024·4096) + 18·4·8·256·50·1018 = 0.0386e12, and 37 modulations and the
    projections for 0.0002e12. The vision tower: 0.661e12.
    """
    with torch.device("meta"):
        model = Pi05(pi05())
        mask = torch.ones(1, 968, dtype=torch.bool)
        seen, _ = count(lambda: model.see(torch.empty(3, 3, 224, 224)))
        trunk, prefix = count(lambda: model.trunk(torch.empty(1, 968, 2048), mask, True))
        step, _ = count(lambda: model.velocity(prefix, torch.empty(1, 50, 32), torch.ones(1)))
    assert seen == pytest.approx(0.661e12, rel=2e-3)
    assert trunk == 3_756_150_751_232
    assert step == pytest.approx(0.0389e12, rel=2e-3)


def count(run):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        made = run()
    return counter.get_total_flops(), made


@pytest.fixture
def nano():
    torch.manual_seed(0)
    model = Pi05(pi05_nano(scene_width=6, vision=True))
    torch.nn.init.normal_(model.action_out.weight, std=0.1)  # a fresh model answers almost zero
    return model


def inputs(batch=3, tokens=7):
    return torch.randint(0, 700, (batch, tokens)), torch.ones(batch, tokens, dtype=torch.bool)


def velocity(model, prefix):
    x = torch.linspace(-1, 1, 120).view(1, 10, 12).expand(len(prefix), -1, -1)
    with torch.no_grad():
        return model.velocity(prefix, x, torch.full((len(prefix),), 0.5))


def test_masked_tokens_and_cameras_are_dropped(nano):
    tokens, mask = inputs()
    image, scene = torch.rand(3, 3, 64, 64), torch.randn(3, 6)
    with torch.no_grad():
        lean = nano.encode(tokens, mask, {"left": image}, None, scene)
        padded = nano.encode(
            torch.nn.functional.pad(tokens, (0, 5)),
            torch.nn.functional.pad(mask, (0, 5)),
            {"left": image, "wrist": torch.rand(3, 3, 64, 64)},
            {"left": torch.ones(3, dtype=torch.bool), "wrist": torch.zeros(3, dtype=torch.bool)},
            scene,
        )
    assert lean.mask.shape == padded.mask.shape == (3, 16 + 4 + 7)
    assert lean.full
    assert padded.full
    close(velocity(nano, padded), velocity(nano, lean))


def test_masked_tokens_that_stay_change_nothing(nano):
    """Rows of other lengths, cameras here and there: as each row alone, and as a trunk that nothing is dropped from."""
    tokens, mask = inputs()
    mask[1, 4:] = mask[2, 5:] = False
    images = {"left": torch.rand(3, 3, 64, 64), "wrist": torch.rand(3, 3, 64, 64)}
    there = {"left": torch.tensor([True, False, True]), "wrist": torch.tensor([False, False, True])}
    scene = torch.randn(3, 6)
    with torch.no_grad():
        together = nano.encode(tokens, mask, images, there, scene)
        assert together.mask.sum(1).tolist() == [16 + 4 + 7, 4 + 4, 32 + 4 + 5]
        assert together.mask.shape[1] == 32 + 4 + 5
        assert not together.full
        for row in range(3):
            own = {camera: image[row : row + 1] for camera, image in images.items() if there[camera][row]}
            alone = nano.encode(tokens[row : row + 1], mask[row : row + 1], own, None, scene[row : row + 1])
            assert alone.full
            close(velocity(nano, together.repeat(torch.tensor([row]))), velocity(nano, alone))


def test_packing_by_hand():
    x = torch.arange(8.0).view(2, 4, 1)
    mask = torch.tensor([[True, False, True, True], [False, True, False, False]])
    packed, left, full = pack(x, mask)
    assert packed[0, :, 0].tolist() == [0, 2, 3]
    assert packed[1, 0, 0] == 5
    assert left.tolist() == [[True, True, True], [True, False, False]]
    assert not full
    assert pack(x, torch.ones(2, 4, dtype=torch.bool))[0] is x
    assert pack(x, mask.flip(0)[:1])[2]


def test_attention_without_a_mask_equals_one_that_masks_nothing(nano):
    with torch.no_grad():
        prefix = nano.encode(*inputs(), None, None, torch.randn(3, 6))
        assert prefix.full
        close(velocity(nano, replace(prefix, full=False)), velocity(nano, prefix))


def test_the_unread_tail_of_the_last_trunk_layer_is_not_computed(nano):
    """Not a number anywhere in it would reach the prefix, the velocity or a gradient."""
    before = velocity(nano, nano.encode(*inputs(), None, None, torch.ones(3, 6)))
    weights = dict(nano.named_parameters())
    unread = nano.unread()
    assert {name.split(".")[3] for name in unread if "layers" in name} == {"attention", "mlp_norm", "mlp"}
    with torch.no_grad():
        for name in unread:
            weights[name].fill_(math.nan)
    after = velocity(nano, nano.encode(*inputs(), None, None, torch.ones(3, 6)))
    assert after.isfinite().all()
    assert before.shape == after.shape


def test_each_part_of_the_prefix_moves_the_velocity(nano):
    tokens, mask = inputs()
    image, scene = torch.rand(3, 3, 64, 64), torch.randn(3, 6)
    with torch.no_grad():
        before = velocity(nano, nano.encode(tokens, mask, {"left": image}, None, scene))
        for changed in (
            nano.encode((tokens + 1) % 700, mask, {"left": image}, None, scene),
            nano.encode(tokens, mask, {"left": image.flip(2)}, None, scene),
            nano.encode(tokens, mask, {"left": image}, None, scene + 0.5),
        ):
            assert (velocity(nano, changed) - before).abs().max() > 1e-4


def test_prefix_rows_repeat_and_join(nano):
    short, long = inputs(2, 3), inputs(2, 9)
    scene = torch.randn(2, 6)
    with torch.no_grad():
        a, b = nano.encode(*short, None, None, scene), nano.encode(*long, None, None, scene)
    apart = torch.cat([velocity(nano, a), velocity(nano, b)])
    joined = Prefix.cat([a, b])
    close(velocity(nano, joined), apart)
    source = torch.tensor([3, 0, 0])
    close(velocity(nano, joined.repeat(source)), apart[source])
    with pytest.raises(ValueError, match="at least one"):
        Prefix.cat([])


def test_wrong_parts_are_refused(nano):
    tokens, mask = inputs()
    with pytest.raises(ValueError, match="scene_width=6"):
        nano.encode(tokens, mask, None, None, None)
    with pytest.raises(ValueError, match="resize"):
        nano.encode(tokens, mask, {"left": torch.rand(3, 3, 32, 32)}, None, torch.randn(3, 6))
    blind = Pi05(pi05_nano(scene_width=0, vision=False))
    with pytest.raises(ValueError, match="vision=None"):
        blind.encode(tokens, mask, {"left": torch.rand(3, 3, 64, 64)}, None, None)


def test_vlm_and_expert_must_share_heads():
    config = pi05_nano(scene_width=0, vision=False)
    with pytest.raises(ValueError, match=r"vlm\.depth is 4, expert\.depth is 3"):
        replace(config, expert=replace(config.expert, depth=3))
