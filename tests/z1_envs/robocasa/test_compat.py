"""Importing RoboCasa: what is refused before it, and the adapters, needed or not."""

import importlib.metadata
import importlib.util
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import mujoco
import pytest

from z1_envs.opengl import RenderError
from z1_envs.robocasa import compat, preflight
from z1_envs.robocasa.options import RoboCasaOptions
from z1_envs.robocasa.versions import V02, V101, Installed

ROOT = Path(__file__).parents[3]


def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(compat.RoboCasaError, match=r"robosuite, which is not installed: pip install .*robocasa"):
        compat.check_installed()


def robocasa_from_git(folder: Path, version: str, asserts: str) -> ModuleSpec:
    """The beginnings of a package as the repository has it: it knows no environment variable."""
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text(f"import mujoco\nimport numpy\n{asserts}\n__version__ = {version!r}\n")
    (folder / "models" / "__init__.py").write_text('assets_root = "assets"\n')
    spec = importlib.util.spec_from_file_location("robocasa", folder / "__init__.py")
    assert spec is not None
    return spec


V02_ASSERTS = """
assert (
    mujoco.__version__ == "3.2.6"
), "MuJoCo version must be 3.2.6"
assert numpy.__version__ in ["1.23.2", "1.23.3", "1.23.5"], "numpy version"
"""


class TestVersions:
    """Each with the releases of packages that stand in `releases`."""

    @pytest.fixture(autouse=True)
    def _no_package(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.releases = {"mujoco": "3.9.0", "numpy": "1.26.4", "robosuite": "1.5.2"}
        self.patch, self.folder = monkeypatch, tmp_path / "robocasa"
        monkeypatch.setattr(compat.importlib.metadata, "version", lambda name: self.releases[name])
        monkeypatch.delitem(sys.modules, "robocasa.models", raising=False)  # as before it is imported

    def found(self, version: str, asserts: str = "", **releases: str) -> Installed:
        self.releases.update(releases)
        spec = robocasa_from_git(self.folder, version, asserts)
        self.patch.setattr(importlib.util, "find_spec", lambda name: spec)
        return compat.check_installed()

    def test_v02_is_known_with_what_it_asserts(self) -> None:
        found = self.found("0.2.0", V02_ASSERTS, mujoco="3.2.6", numpy="1.23.5", robosuite="1.5.1")
        assert (found.version, found.mujoco) == (V02, ("3.2.6",))
        assert found.numpy == ("1.23.2", "1.23.3", "1.23.5")
        assert found.assets == self.folder / "models" / "assets"

    def test_numpy_2_is_no_conflict(self) -> None:
        assert self.found("1.0.1", numpy="2.2.5").version is V101

    @pytest.mark.parametrize(
        ("version", "asserts", "releases", "message"),
        [
            ("0.1.0", "", {}, r"RoboCasa 0\.1\.0 is installed, supported are v0\.2 and v1\.0\.1: pip install"),
            ("0.2.0", V02_ASSERTS, {}, r"v0\.2 runs on mujoco 3\.2\.6 only, not on 3\.9\.0: pip install robosuite"),
            ("0.2.0", V02_ASSERTS, {"mujoco": "3.2.6"}, r"numpy 1\.23\.2 or .*not on 1\.26\.4: pip install"),
            ("0.2.0", "", {}, r"v0\.2 runs on robosuite from 1\.5\.0 to below 1\.5\.2, not on 1\.5\.2: pip install"),
            ("1.0.1", "", {"robosuite": "1.5.1"}, r"from 1\.5\.2 to below 1\.6, not on 1\.5\.1: pip uninstall"),
            ("1.0.1", "", {"mujoco": "3.10.0"}, r"mujoco 3\.10\.0.*pip install 'mujoco>=3\.8,<3\.10'"),
        ],
    )  # fmt: skip
    def test_what_does_not_fit_is_refused_with_the_command(
        self, version: str, asserts: str, releases: dict[str, str], message: str
    ) -> None:
        with pytest.raises(compat.RoboCasaError, match=message):
            self.found(version, asserts, **releases)

    def test_a_package_that_pip_does_not_know_is_named_with_the_command(self) -> None:
        def version(name: str) -> str:
            if name == "robosuite":
                raise importlib.metadata.PackageNotFoundError(name)
            return self.releases[name]

        self.patch.setattr(compat.importlib.metadata, "version", version)
        with pytest.raises(
            compat.RoboCasaError, match=r"robosuite can be imported, but is not installed.*: pip uninstall"
        ):
            self.found("1.0.1")


def test_robocasa_takes_the_folder_that_its_modules_read_while_they_are_imported(tmp_path: Path) -> None:
    robocasa_from_git(tmp_path / "robocasa", "1.0.1", "import robocasa.models.objects")
    objects = "import robocasa\nroot = robocasa.models.assets_root\n"
    (tmp_path / "robocasa" / "models" / "objects.py").write_text(objects)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nfrom pathlib import Path\n"
        "from z1_envs.robocasa import compat\nprint(compat._imported(Path('/chosen')).models.objects.root)\n"
        "try: compat.check_choice_of_assets(Path('/other'))\nexcept compat.RoboCasaError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    root, refusal = run.stdout.splitlines()
    assert root == "/chosen"
    assert "was imported with the assets in /chosen, asked for are those in /other: use one folder" in refusal


def test_images_need_opengl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(mujoco, "GLContext", raising=False)  # as mujoco has it with MUJOCO_GL=off
    with pytest.raises(RenderError, match=r"OpenGL cannot start .*MUJOCO_GL=egl.*Without images use obs='state'"):
        preflight.check_images()


@pytest.mark.robocasa
class TestWithRoboCasa:
    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("robosuite", reason="needs the extra `robocasa`", exc_type=ImportError)

    def test_what_breaks_the_import_is_named_with_the_command(self, tmp_path: Path) -> None:
        (tmp_path / "robosuite").mkdir()
        (tmp_path / "robosuite" / "__init__.py").write_text("raise ImportError('no numba')\n")
        code = (
            f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nfrom z1_envs.robocasa import compat\n"
            "try: compat.load()\nexcept compat.RoboCasaError as error: print(error)\n"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
        install = compat.installed().version.install
        assert f"does not import here (ImportError: no numba): {install}" in run.stdout

    def test_images_are_asked_for_before_anything_is_built(self, pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(mujoco, "GLContext", raising=False)
        preflight.check("OpenDrawer", RoboCasaOptions(assets=pack))
        with pytest.raises(RenderError, match="OpenGL cannot start"):
            preflight.check("OpenDrawer", RoboCasaOptions(assets=pack, obs="pixels"))

    def test_the_horizons_are_those_of_its_registry(self, pack: Path) -> None:
        compat.load(pack)
        version = compat.installed().version
        if version is V02:
            from robocasa.utils.dataset_registry import SINGLE_STAGE_TASK_DATASETS

            horizons = {name: row["horizon"] for name, row in SINGLE_STAGE_TASK_DATASETS.items()}
        else:
            from robocasa.utils.dataset_registry_utils import get_task_horizon

            horizons = {row.class_name: get_task_horizon(row.class_name) for row in version.tasks.values()}
        for row in version.tasks.values():
            assert row.horizon == horizons[row.class_name]

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
