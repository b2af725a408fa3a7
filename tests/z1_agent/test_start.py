"""A fresh policy: what its vocabulary knows of numbers."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from z1_agent.flow import FlowSDE
from z1_agent.observation import Normalizer
from z1_agent.pi05 import pi05_nano
from z1_agent.policy import Pi05Policy, PolicyConfig
from z1_agent.start import fresh_policy
from z1_agent.tokenizer import NanoTokenizer, prompt
from z1_envs.layout import ACTION, CAMERAS, STATE


def fresh(*, sees: bool, seed: int = 0) -> Pi05Policy:
    rng, scene_width = np.random.default_rng(0), 0 if sees else 6
    shapes = (STATE.width, ACTION.width, scene_width)
    state, action, scene = (rng.uniform(-1, 1, (50, width)).astype(np.float32) for width in shapes)
    config = PolicyConfig(
        model=pi05_nano(scene_width=scene_width, vision=sees),
        sde=FlowSDE(),
        executed_len=5,
        cameras=tuple(CAMERAS) if sees else (),
    )
    return fresh_policy(config, Normalizer.fit(state, action, None if sees else scene), seed=seed)


def bins(policy: Pi05Policy) -> torch.Tensor:
    return policy.model.embedding.weight[NanoTokenizer.bins]


def test_the_tokens_of_bins_are_all_and_in_order() -> None:
    numbers = np.arange(-1, 256)
    ids = NanoTokenizer().encode(prompt("open", numbers))
    assert ids[3:-1] == list(range(*NanoTokenizer.bins.indices(10**6)))


def test_without_a_scene_numbers_that_are_close_look_alike() -> None:
    policy = fresh(sees=True)
    near = cosine_similarity(bins(policy)[1:], bins(policy)[:-1])
    far = cosine_similarity(bins(policy)[128:], bins(policy)[:-128])
    assert near.min() > 0.98
    assert far.max() < 0.8
    words = policy.model.embedding.weight[NanoTokenizer.bins.stop :]
    assert bins(policy).std().item() == pytest.approx(words.std().item(), rel=0.05), "no louder than other tokens"
    assert torch.equal(bins(policy), bins(fresh(sees=True)))
    assert not torch.equal(bins(policy), bins(fresh(sees=True, seed=1)))


def test_beside_a_scene_they_are_tokens_like_all_others() -> None:
    near = cosine_similarity(bins(fresh(sees=False))[1:], bins(fresh(sees=False))[:-1])
    assert abs(near.mean()) < 0.05
