"""The embedded kitchen: a mobile arm, a room, 24 tasks, all in MuJoCo primitives. In the order of what uses what:

shapes styles                  boxes and cylinders; colours
fixtures                       drawer, cabinets, microwave, sink, stove, coffee machine
layouts room neighbours        what stands around them: walls, counters, furniture
clutter objects containers     things on the counter; what is picked; plates, bowls, pans
robot control                  the arm on its base; actions → servo targets
plans                          what a seed decides, by family of tasks
scene                          a seed → plan → compiled model and start
physics                        many rows of simulator state, stepped at once
geometry contacts goals        where things are in each lane; who touches whom; when a task is done
lanes                          one control step of many lanes, and what is observed
cameras                        images of a lane
spaces                         what is shown and taken
simulation                     lanes with cameras and a horizon
env                            KitchenEnv and KitchenVectorEnv
experts demos                  scripted experts; their successes as demonstrations
"""
