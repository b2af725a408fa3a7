"""The official RoboCasa behind the contract of the embedded kitchen. Needs the extra `robocasa`.

The only folder that imports robocasa or robosuite. In the order of what uses what:

options                       all that decides an env beside its task
versions                      what tasks, splits and kitchens are called in each version; which is installed
compat                        what RoboCasa v1.0.1 expects of robosuite and the released 1.5.2 lacks
mjcf                          model files of boxes and cylinders, as RoboCasa reads them
fixture_models object_models  stand-ins for its fixtures and for what stands on them
package_models                boxes in place of the meshes that v0.2's package lacks
catalogue                     which kinds, styles, textures and categories RoboCasa asks for
packs                         which official packs are missing, or there in part
assets                        the folder of assets: what it lacks; writing the stand-in pack
preflight                     all that is looked at before RoboCasa is imported
official                      RoboCasa's own env, made as the version wants it
simulation                    one control step, what is seen and touched, without RoboCasa's observables
snapshot_state                what a moment consists of
film                          pictures of it for people
scene                         a scene as a record that another process can hold
env                           the env itself
vector                        many lanes of it on few processes

Importing RoboCasa fixes where it looks for assets and which OpenGL backend it uses: `compat.load` is the door.
"""
