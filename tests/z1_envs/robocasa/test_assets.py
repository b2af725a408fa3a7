"""The stand-in pack: whole, the same every time, and refused where it would do harm. The preflight's messages."""

import hashlib
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import mujoco
import pytest

from z1_envs.robocasa import assets, catalogue, compat, object_models, versions
from z1_envs.robocasa.versions import V02, V101, Version

pytestmark = pytest.mark.robocasa
pytest.importorskip("robosuite", reason="needs the extra `robocasa`", exc_type=ImportError)


def digest(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_two_packs_are_equal_file_by_file(tmp_path: Path) -> None:
    first, second = (digest(assets.write_stand_in(tmp_path / name)) for name in ("a", "b"))
    assert first == second
    assert len(first) > 500


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(FileExistsError, match="not empty: choose a new folder"):
        assets.write_stand_in(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_pack_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(assets, "categories", interrupted)
    with pytest.raises(KeyboardInterrupt):
        assets.write_stand_in(tmp_path / "pack")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["textures/pack", "models/assets/pack", "robosuite/pack"])
def test_paths_that_robocasa_would_rewrite_are_refused(tmp_path: Path, folder: str) -> None:
    with pytest.raises(ValueError, match="choose another folder"):
        assets.write_stand_in(tmp_path / folder)


def test_every_model_is_one_that_mujoco_compiles(pack: Path, version: Version) -> None:
    # v1.0.1's package brings fixtures with meshes that no task uses; v0.2's come with the meshes taken out.
    parts = ["fixtures"] if version is V02 else [f"fixtures/{kind.folder}" for kind in catalogue.KINDS.values()]
    models = [path for part in ("objects", *parts) for path in (pack / part).rglob("model.xml")]
    assert len(models) > 300
    for path in models:
        mujoco.MjModel.from_xml_path(str(path))


def test_solids_are_touched_and_seen_alike(pack: Path, version: Version) -> None:
    # Cameras show group 1 only, contacts come from group 0 only: both have to be the same shape. v0.2 says classes.
    for path in (pack / "fixtures" / "microwaves").rglob("model.xml"):
        geoms = [geom.attrib for geom in ElementTree.parse(path).findall("worldbody//geom")]
        solids = [geom for geom in geoms if "reg_" not in geom.get("name", "")]
        shapes = [{tuple(sorted((key, geom[key]) for key in ("type", "pos", "size"))) for geom in solids
                   if (geom.get("group") or geom["class"]) in kinds}
                  for kinds in ("0 collision", "1 visual")]  # fmt: skip
        # v0.2's own models have a few boxes that are seen only, and three that nothing uses have none that touch.
        assert shapes[0] <= shapes[1] if version is V02 else shapes[0] == shapes[1] != set()


def test_categories_are_those_that_robocasa_draws_from(pack: Path) -> None:
    compat.load(pack)
    from robocasa.models.objects.kitchen_objects import OBJ_CATEGORIES

    expected = {(name, registry) for name, row in OBJ_CATEGORIES.items() for registry in row
                if registry in catalogue.REGISTRIES}  # fmt: skip
    found = catalogue.categories(versions.installed().assets)
    assert len(found) == len(expected)
    assert {category.name for category in found} == {name for name, _ in expected}
    for name, registry in sorted(expected):
        paths = OBJ_CATEGORIES[name][registry].mjcf_paths
        assert len(paths) == object_models.VARIANTS, f"{name} in {registry}: {paths}"


def test_a_stand_in_lacks_nothing_and_says_what_it_is(pack: Path, official: Path) -> None:
    found = versions.installed()
    assets.check_assets("OpenDrawer", pack, found)
    assert assets.backend_of(pack) == "robocasa-stand-in"
    assert assets.backend_of(official) == "robocasa"


def test_what_is_missing_is_named_with_its_size_and_the_command(official: Path) -> None:
    found = versions.installed()
    if found.version is V02:
        words = r"fixtures \(size not.*-m robocasa\.scripts\.download_kitchen_assets;"
    else:
        words = r"fixtures_lw \(530 MB\).*-y --type tex tex_generative fixtures_lw"
    with pytest.raises(FileNotFoundError, match=rf"OpenDrawer needs .*{words}"):
        assets.check_assets("OpenDrawer", official, found)
    assert assets.missing_packs(official, found) == list(found.version.packs)


def test_a_pack_counts_when_all_of_it_is_there(downloaded: Path) -> None:
    found = versions.installed()
    assets.check_assets("OpenDrawer", downloaded, found)
    for pack in found.version.packs:
        archive = downloaded / f"{pack.folder}.zip"  # what RoboCasa's downloads delete when they have unpacked it
        archive.touch()
        assert assets.missing_packs(downloaded, found) == [pack]
        archive.unlink()
    assert assets.missing_packs(downloaded, found) == []


@pytest.mark.parametrize(
    ("lacking", "place"),
    [
        ("tex", "textures/flat/white.png"),
        ("tex_generative", "generative_textures/wall/tex058.png"),
        ("fixtures_lw", "fixtures/microwaves/Microwave053/model.xml"),
        ("objs_lw", "objects/lightwheel/plant/Plant003/model.xml"),
        ("objs_lw", "objects/lightwheel/cheese_grater/first/model.xml"),
        ("objs_objaverse", "objects/objaverse/yogurt/first/model.xml"),
    ],
)
def test_a_file_that_is_missing_tells_of_its_pack(downloaded: Path, version: Version, lacking: str, place: str) -> None:
    if version is V02:
        pytest.skip("v1.0.1's names")
    (downloaded / place).unlink()
    assert [missing.name for missing in assets.missing_packs(downloaded, versions.installed())] == [lacking]


def test_a_folder_that_is_none_of_assets_is_refused(tmp_path: Path) -> None:
    found = versions.installed()
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*: z1 assets stand-in .*nowhere"):
        assets.check_assets("OpenDrawer", tmp_path / "nowhere", found)
    with pytest.raises(FileNotFoundError, match=rf"lacks arenas, .*: cp -rn {found.assets}/\. {tmp_path}"):
        assets.check_assets("OpenDrawer", tmp_path, found)


def test_stand_ins_of_another_release_or_version_are_refused(tmp_path: Path, version: Version) -> None:
    other = V101 if version is V02 else V02
    message = rf"needed is release 2 for {version.name}: write a new one: z1 assets stand-in"
    for release, name in ((1, version.name), (2, other.name)):
        (tmp_path / assets.MANIFEST).write_text(json.dumps({"version": release, "robocasa": name}))
        with pytest.raises(ValueError, match=message):
            assets.check_assets("OpenDrawer", tmp_path, versions.installed())


@pytest.mark.parametrize("manifest", ["{", "[]", "{}"])
def test_broken_stand_ins_are_refused(tmp_path: Path, manifest: str) -> None:
    (tmp_path / assets.MANIFEST).write_text(manifest)
    with pytest.raises(ValueError, match="is of an older release, or broken: write a new one"):
        assets.check_assets("OpenDrawer", tmp_path, versions.installed())
