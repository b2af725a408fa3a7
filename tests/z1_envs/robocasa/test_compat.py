"""Importing RoboCasa: what is refused before it, and the adapters, needed or not."""

import importlib.util
from pathlib import Path

import pytest

from z1_envs.robocasa import compat


def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(compat.RoboCasaError, match=r"robosuite, which is not installed: pip install .*robocasa"):
        compat.check_installed()


@pytest.mark.robocasa
class TestWithRoboCasa:
    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("robosuite", reason="needs the extra `robocasa`", exc_type=ImportError)

    def test_a_mujoco_that_is_too_new_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(compat.importlib.metadata, "version", lambda name: "3.10.0")
        with pytest.raises(compat.RoboCasaError, match=r"mujoco 3\.10\.0.*pip install 'mujoco>=3\.8,<3\.10'"):
            compat.check_installed()

    def test_another_folder_of_assets_is_refused_once_robocasa_is_imported(self, pack: Path, tmp_path: Path) -> None:
        compat.load(pack)
        with pytest.raises(compat.RoboCasaError, match="use one folder per process"):
            compat.load(tmp_path)

    def test_adapting_twice_changes_nothing(self, pack: Path) -> None:
        compat.load(pack)
        from robosuite.environments.manipulation.manipulation_env import ManipulationEnv

        init = ManipulationEnv.__init__
        assert compat.adapt() == []
        assert ManipulationEnv.__init__ is init

    def test_what_knows_everything_already_is_left_alone(self, pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # The signatures and the controller's name that robosuite's master branch has.
        compat.load(pack)
        from robosuite.controllers.parts import controller_factory
        from robosuite.environments.manipulation.manipulation_env import ManipulationEnv
        from robosuite.models.tasks.manipulation_task import ManipulationTask

        def env_init(self: object, robots: object, load_model_on_init: bool = True) -> None: ...

        def task_init(self: object, enable_multiccd: bool = False, enable_sleeping_islands: bool = False) -> None: ...

        def mobile_base_controller_factory(name: str, params: dict) -> str:
            return "JOINT_VELOCITY_LEGACY"

        monkeypatch.setattr(ManipulationEnv, "__init__", env_init)
        monkeypatch.setattr(ManipulationTask, "__init__", task_init)
        monkeypatch.setattr(controller_factory, "mobile_base_controller_factory", mobile_base_controller_factory)
        assert compat.adapt() == []

    def test_each_adapter_sees_that_it_is_needed(self, pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        compat.load(pack)
        from robosuite.environments.manipulation.manipulation_env import ManipulationEnv
        from robosuite.models.tasks.manipulation_task import ManipulationTask

        for owner in (ManipulationEnv, ManipulationTask):
            monkeypatch.setattr(owner, "__init__", getattr(owner.__init__, "__wrapped__", owner.__init__))
        assert set(compat.adapt()) <= {"accept_load_model_on_init", "accept_physics_flags"}
