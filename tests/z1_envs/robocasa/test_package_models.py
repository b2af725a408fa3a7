"""Models of v0.2's package without their meshes. Needs no RoboCasa."""

from pathlib import Path

import mujoco
import numpy as np

from z1_envs.robocasa.package_models import named_textures, replace_meshes

MODEL = """
<mujoco model="toaster">
  <asset><mesh file="visuals/model_0.obj" name="shell"/></asset>
  <default>
    <default class="visual"><geom conaffinity="0" contype="0" group="1" type="mesh"/></default>
    <default class="collision"><geom group="0" rgba="0.5 0 0 0.5"/></default>
  </default>
  <worldbody><body><body name="object">
    <geom class="visual" mesh="shell" density="100"/>
    <geom class="collision" type="box" pos="0 0 0.1" size="0.2 0.1 0.1"/>
    <body name="lever">
      <geom class="collision" type="cylinder" size="0.01 0.02" euler="90 0 0" name="handle"/>
      <joint name="lever_joint" axis="0 0 1"/>
    </body>
  </body></body></worldbody>
</mujoco>
"""


def test_what_touches_is_seen_where_the_mesh_was(tmp_path: Path) -> None:
    folder = tmp_path / "fixtures" / "toaster"
    folder.mkdir(parents=True)
    (folder / "model.xml").write_text(MODEL)
    (tmp_path / "panel.xml").write_text("<mujoco/>")
    replace_meshes(tmp_path)
    assert (tmp_path / "panel.xml").read_text() == "<mujoco/>"
    model = mujoco.MjModel.from_xml_path(str(folder / "model.xml"))
    assert model.nmesh == 0
    assert model.njnt == 1
    touched, seen = (np.flatnonzero(model.geom_group == group) for group in (0, 1))
    for fields in (model.geom_type, model.geom_size, model.geom_pos, model.geom_quat, model.geom_bodyid):
        np.testing.assert_array_equal(np.sort(fields[touched], axis=0), np.sort(fields[seen], axis=0))
    assert not model.geom_contype[seen].any()
    assert not model.geom_conaffinity[seen].any()
    assert (model.geom_rgba[seen, 3] == 1).all()
    assert model.geom("handle_visual").rgba[0] > model.geom("handle_visual").rgba[1]
    # The box of 0.4 x 0.2 x 0.2 m has MuJoCo's own density of 1000 kg/m³, as before, and what is seen next to nothing.
    np.testing.assert_allclose(model.body("object").mass, 1000 * 0.4 * 0.2 * 0.2, rtol=1e-6)


def test_named_textures_have_the_colour_that_their_name_says(tmp_path: Path) -> None:
    assets, classes = tmp_path / "models" / "assets", tmp_path / "models" / "fixtures"
    registry = assets / "fixtures" / "fixture_registry"
    for folder in (registry, classes):
        folder.mkdir(parents=True)
    (registry / "wall.yaml").write_text("texture: textures/tiles/black_square_tiles.png\nother: textures/plain.png\n")
    (classes / "others.py").write_text('texture = "textures/flat/white.png"\n')
    colours = named_textures(assets)
    assert sorted(colours) == ["textures/flat/white.png", "textures/plain.png", "textures/tiles/black_square_tiles.png"]
    black, white = (sum(colours[f"textures/{name}.png"]) for name in ("tiles/black_square_tiles", "flat/white"))
    assert black < 0.5 < 2.5 < white
