"""Exact snapshots of the official env: all 24 tasks, in place and elsewhere; after latches; in mid-grasp."""

import ast
import inspect
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

from z1_envs.conformance import check_snapshot, first_difference
from z1_envs.layout import ACTION
from z1_envs.robocasa import snapshot_state
from z1_envs.robocasa.env import RoboCasaEnv
from z1_envs.robocasa.options import RoboCasaOptions
from z1_envs.robocasa.snapshot_state import CONTROLLERS, FIXTURES
from z1_envs.snapshot import SnapshotError, SnapshotRestore
from z1_envs.tasks import TASKS

pytestmark = pytest.mark.robocasa
pytest.importorskip("robosuite", reason="needs the extra `robocasa`", exc_type=ImportError)

ACTIONS = np.random.default_rng(1).uniform(-1, 1, (10, ACTION.width)).astype(np.float32)
OTHERS = np.random.default_rng(2).uniform(-1, 1, (6, ACTION.width)).astype(np.float32)

# Plays what it is sent; RoboCasa prints, so its words go elsewhere.
ELSEWHERE = """
import os, pickle, sys
answers = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
from z1_envs.robocasa.env import RoboCasaEnv
while True:
    try:
        task, options, scene, state, actions = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    env = RoboCasaEnv(task, options)
    env.reset(options={"scene": scene})
    env.set_state(state)
    pickle.dump([env.step(action) for action in actions], answers)
    answers.flush()
    env.close()
"""


@pytest.fixture(scope="module")
def elsewhere(pack: Path) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(
        [sys.executable, "-c", ELSEWHERE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "ROBOCASA_ASSETS_PATH": str(pack)},
    )
    yield process
    process.communicate(timeout=60)


@pytest.fixture(scope="module")
def drawer(pack: Path) -> Iterator[RoboCasaEnv]:
    env = RoboCasaEnv("OpenDrawer", RoboCasaOptions(assets=pack, layouts=(1,)))
    env.reset(seed=0)
    yield env
    env.close()


def played(env: RoboCasaEnv, actions: Sequence[NDArray] | NDArray) -> list[Any]:
    """What each step returned, and where it led to the bit."""
    steps = []
    for action in actions:
        result = env.step(action)
        assert env._running, "the episode ended: choose another seed"
        steps.append((result, env.get_state().simulation.physics))
    return steps


def replays(env: RoboCasaEnv, actions: NDArray) -> None:
    """From here, in place, after other steps, and after resets."""
    here = env.get_state()
    reference = played(env, actions)
    env.set_state(here)
    played(env, OTHERS)
    env.set_state(here)
    assert first_difference(played(env, actions), reference) is None
    env.reset(options={"scene": env.get_scene()})
    env.set_state(here)
    assert first_difference(played(env, actions), reference) is None
    env.set_state(here)


def carry_gripper(env: RoboCasaEnv, target: NDArray[np.float64]) -> None:
    """Base and torso move so that the grip is at `target` [m]."""
    assert env._episode is not None
    simulation = env._episode.simulation
    model, data = simulation.model, simulation.data
    joints = [model.joint(f"mobilebase0_joint_{name}") for name in ("mobile_forward", "mobile_side", "torso_height")]
    site = simulation.official.robots[0].eef_site_id["right"]
    simulation.refresh()
    jacobian = np.zeros((3, model.nv))
    mujoco.mj_jacSite(model, data, jacobian, None, site)
    moves = np.linalg.solve(jacobian[:, [joint.dofadr[0] for joint in joints]], target - data.site_xpos[site])
    for joint, move in zip(joints, moves, strict=True):
        data.qpos[joint.qposadr[0]] += move
    simulation.refresh()


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_every_task_replays_exactly(task: str, pack: Path, elsewhere: subprocess.Popen) -> None:
    # Layout 1 has no microwave that a free counter is beside of.
    options = RoboCasaOptions(assets=pack, layouts=(1, 2) if task == "PnPCounterToMicrowave" else (1,))
    env = RoboCasaEnv(task, options)
    seed = list(TASKS).index(task)
    assert check_snapshot(env, steps=8, seed=seed) == 8
    assert elsewhere.stdin is not None
    assert elsewhere.stdout is not None
    pickle.dump((task, options, env.get_scene(), env.get_state(), ACTIONS), elsewhere.stdin)
    elsewhere.stdin.flush()
    here = [env.step(action) for action in ACTIONS]
    assert first_difference(pickle.load(elsewhere.stdout), here) is None
    env.close()


@pytest.mark.slow
def test_a_worker_process_replays_from_the_seed_alone(pack: Path) -> None:
    options = RoboCasaOptions(assets=pack, layouts=(1,))
    env = RoboCasaEnv("TurnOnStove", options)
    assert check_snapshot(env, steps=8, make_env=_Maker(options)) == 8
    env.close()


class _Maker:
    def __init__(self, options: RoboCasaOptions):
        self.options = options

    def __call__(self) -> RoboCasaEnv:
        return RoboCasaEnv("TurnOnStove", self.options)


@pytest.mark.parametrize(
    ("task", "fixture", "button", "offset"),
    [
        ("CoffeePressButton", "coffee_machine", "start_button", (0, 0, 0)),
        ("TurnOnMicrowave", "microwave", "start_button", (0, 0.02, 0)),
    ],
)
def test_what_a_button_has_turned_on_is_on_again(
    task: str, fixture: str, button: str, offset: tuple[float, ...], pack: Path
) -> None:
    env = RoboCasaEnv(task, RoboCasaOptions(assets=pack, layouts=(1,)))
    env.reset(seed=0)
    before = env.get_state()
    machine = getattr(env._env, fixture)
    assert machine._turned_on is False
    carry_gripper(env, env._env.sim.data._data.geom(f"{machine.name}_{button}").xpos + np.array(offset))
    assert env.step(np.zeros(ACTION.width, np.float32))[4]["phase"] == "manipulation"
    assert machine._turned_on is True
    on, rgba = env.get_state(), env._env.sim.model._model.site_rgba.copy()
    replays(env, ACTIONS)

    env.set_state(before)
    assert getattr(env._env, fixture)._turned_on is False
    if task == "CoffeePressButton":
        assert not np.array_equal(env._env.sim.model._model.site_rgba, rgba)
    env.set_state(on)
    assert getattr(env._env, fixture)._turned_on is True
    assert (env._env.sim.model._model.site_rgba == rgba).all()
    env.close()


def test_a_grasp_goes_on(pack: Path) -> None:
    env = RoboCasaEnv("PnPCounterToSink", RoboCasaOptions(assets=pack, layouts=(1,)))
    env.reset(seed=1)  # a pear
    assert env._episode is not None
    simulation, official = env._episode.simulation, env._env
    obj, site = official.objects["obj"], official.robots[0].eef_site_id["right"]
    close = np.zeros(ACTION.width, np.float32)
    close[ACTION["gripper"]] = 1.0
    gripper = official.robots[0].gripper["right"]
    official.sim.data.set_joint_qpos(
        obj.joints[0], np.concatenate([simulation.data.site_xpos[site], [1.0, 0.0, 0.0, 0.0]])
    )
    gravity = simulation.model.opt.gravity.copy()
    simulation.model.opt.gravity[:] = 0  # it hovers until the fingers have it
    for _ in range(12):
        env.step(close)
    simulation.model.opt.gravity[:] = gravity
    played(env, [close] * 3)
    assert official.check_contact(gripper, obj)
    replays(env, np.where(np.arange(ACTION.width) == ACTION["gripper"].start, np.float32(1), ACTIONS))
    env.close()


def test_states_of_others_are_refused_and_nothing_changes(drawer: RoboCasaEnv, pack: Path) -> None:
    other = RoboCasaEnv("TurnOnStove", RoboCasaOptions(assets=pack, layouts=(2,)))
    other.reset(seed=0)
    foreign = other.get_state()
    other.close()
    drawer.reset(seed=0)
    here = drawer.get_state()
    played(drawer, OTHERS)
    before = drawer.get_state()
    twister = np.random.Generator(np.random.MT19937(0)).bit_generator.state
    for wrong, words in (
        (foreign, "the state is of another scene"),
        (replace(here, stream=twister), "random stream is none of PCG64"),
        (replace(here, stream={**here.stream, "state": {}}), "random stream is none of PCG64"),
        (replace(here, simulation=replace(here.simulation, stream=twister)), "random stream is none of PCG64"),
        (0, "expected what get_state"),
        (None, "got None"),
    ):
        with pytest.raises(SnapshotError, match=words):
            drawer.set_state(wrong)
    after = drawer.get_state()
    assert first_difference(vars(after.simulation), vars(before.simulation)) is None
    assert (after.elapsed, after.running, after.stream) == (before.elapsed, before.running, before.stream)


def test_a_record_shares_no_memory_and_serves_many_times(drawer: RoboCasaEnv) -> None:
    drawer.reset(seed=0)
    record = drawer.get_state()
    copy = pickle.dumps(record)
    for _ in range(2):
        drawer.set_state(record)
        played(drawer, OTHERS)
    assert pickle.dumps(record) == copy


def test_another_seed_s_snapshot_is_refused_with_both_scenes(drawer: RoboCasaEnv) -> None:
    env = SnapshotRestore(drawer)
    env.reset(seed=0)
    snapshot = env.snapshot()
    env.reset(seed=1)
    with pytest.raises(SnapshotError, match=f"belongs to scene '{snapshot.scene_id}', this env holds"):
        env.restore(snapshot)


def test_fixtures_and_controllers_that_nobody_knows_are_refused(
    drawer: RoboCasaEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawer.reset(seed=0)
    assert drawer._episode is not None
    for table, missing in (("FIXTURES", "Microwave"), ("CONTROLLERS", "JointPositionController")):
        known = getattr(snapshot_state, table)
        with monkeypatch.context() as patch:
            patch.setattr(snapshot_state, table, {key: known[key] for key in known if key != missing})
            with pytest.raises(SnapshotError, match=f"{missing}.* unknown to z1_envs.robocasa"):
                snapshot_state.StateAccess(drawer._episode.simulation)


# What steps write and no step reads before it has written it: poses, velocities and torques of this substep, in
# buffers of controllers; numbers that are always the same, computed when they are first needed.
BUFFERS = {
    "ref_pos", "ref_ori_mat", "ref_pos_vel", "ref_ori_vel", "J_pos", "J_ori", "J_full", "joint_pos", "joint_vel",
    "mass_matrix", "torques", "vels", "_applied_action_dict",
    "initial_ref_pos", "initial_ref_ori_mat",  # the arrays of ref_pos and ref_ori_mat themselves
    "action_scale", "action_input_transform", "action_output_transform",
}  # fmt: skip
COMPUTED_ONCE = {
    "_handle_joint",
    "_water_site",
    "_high_water_radius",
    "_knob_joints",
    "_burner_sites",
    "lid_closed_pos",
}


def frozen(value: Any) -> Any:
    """What can be compared later; other objects by their identity."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.tobytes()
    if isinstance(value, dict):
        return {key: frozen(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [frozen(item) for item in value]
    return value if isinstance(value, (bool, int, float, str, np.generic, type(None))) else id(value)


def owners(env: RoboCasaEnv) -> dict[str, Any]:
    official = env._env
    robot = official.robots[0]
    parts = robot.composite_controller.part_controllers
    return {
        "env": official, "robot": robot, "composite": robot.composite_controller, "robot_model": robot.robot_model,
        **parts, **{f"gripper.{arm}": gripper for arm, gripper in robot.gripper.items()},
        **{f"fixture {name}": fixture for name, fixture in official.fixtures.items()},
        **{f"object {name}": thing for name, thing in official.objects.items()},
    }  # fmt: skip


@pytest.mark.parametrize("task", ["OpenDrawer", "TurnOnSinkFaucet", "CoffeePressButton"])
def test_whatever_a_step_changes_is_in_the_record(task: str, pack: Path) -> None:
    env = RoboCasaEnv(task, RoboCasaOptions(assets=pack, layouts=(1,)))
    env.reset(seed=0)
    assert env._episode is not None
    covered = set(env.get_state().simulation.names)
    before = {name: {key: frozen(value) for key, value in vars(owner).items()} for name, owner in owners(env).items()}
    model = {key: np.copy(getattr(env._episode.simulation.model, key)) for key in dir(env._episode.simulation.model)
             if isinstance(getattr(env._episode.simulation.model, key), np.ndarray)}  # fmt: skip
    data = env._env.sim.data._data
    for joint in range(env._episode.simulation.model.njnt):  # all that opens and turns, does
        name = env._episode.simulation.model.joint(joint).name
        if "robot" not in name and "mobile" not in name and "gripper" not in name and "free" not in name:
            low, high = env._episode.simulation.model.jnt_range[joint]
            data.qpos[env._episode.simulation.model.jnt_qposadr[joint]] = 0.7 * high + 0.3 * low
    for action in ACTIONS:
        env._episode.simulation.step(action.astype(np.float64))

    changed = []
    for name, owner in owners(env).items():
        for key, value in vars(owner).items():
            is_same = key in before[name] and first_difference(frozen(value), before[name][key]) is None
            label = f"{getattr(owner, 'name', '')}.{key}" if name.startswith("fixture ") else f"{name}.{key}"
            label = label.removesuffix(".current_action") if name.startswith("gripper.") else label
            if is_same or key in BUFFERS or key in COMPUTED_ONCE or label in covered:
                continue
            changed.append(label)
    changed_model = [key for key, value in model.items() if not np.array_equal(
        getattr(env._episode.simulation.model, key), value, equal_nan=value.dtype.kind == "f")]  # fmt: skip
    assert {label.rsplit(".", 1)[1] for label in changed} <= {"timestep", "cur_time", "_regions"}, changed
    assert "env.timestep" in changed
    # The regions of drawers, and of nothing else.
    drawers = {fixture.name for fixture in env._env.fixtures.values() if type(fixture).__name__ == "Drawer"}
    assert {label.split(".")[0] for label in changed if label.endswith("._regions")} <= drawers
    assert set(changed_model) <= {"site_rgba", "site_size"}
    env.close()


def test_the_table_of_fixtures_names_all_that_their_methods_write(pack: Path) -> None:
    from z1_envs.robocasa.compat import load

    load(pack)
    import robocasa.models.fixtures as package

    folder = Path(inspect.getfile(package)).parent
    found = {}
    for path in sorted(folder.glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and any(
                getattr(part, "name", "") == "update_state" for part in node.body
            ):
                found[node.name] = written(node)
    assert {"Microwave", "Drawer", "Sink"} <= set(found)
    assert set(found) <= set(FIXTURES)
    # Set while a scene is built, or drawn once from what does not change.
    built = {"geoms", "texture", "pos", "objects", "positions", "quats", "blender_lid", "_joint_names", "get_int_sites",
             "_regions", "water_temp_state"}  # fmt: skip
    for kind, attributes in found.items():
        assert attributes - built - COMPUTED_ONCE <= set(FIXTURES[kind]), kind
    assert set(CONTROLLERS) >= {"OperationalSpaceController", "SimpleGripController"}


def written(node: ast.ClassDef) -> set[str]:
    """Attributes of self that methods other than the constructor assign to, also entries of them."""
    methods = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name != "__init__"]
    targets = []
    for part in (inner for method in methods for inner in ast.walk(method)):
        targets += part.targets if isinstance(part, ast.Assign) else []
        targets += [part.target] if isinstance(part, (ast.AugAssign, ast.AnnAssign)) else []
    attributes = [inner for target in targets for inner in ast.walk(target) if isinstance(inner, ast.Attribute)]
    return {inner.attr for inner in attributes if isinstance(inner.value, ast.Name) and inner.value.id == "self"}
