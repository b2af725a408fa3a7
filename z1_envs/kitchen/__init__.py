"""The embedded kitchen: a mobile arm, a room, three tasks, all in MuJoCo primitives. In the order of what uses what:

shapes objects room fixtures   boxes and cylinders; what is picked; walls and counters; drawer, cabinet, sink
robot control                  the arm on its base; actions → servo targets
scene                          a seed → plan → compiled model and start
physics                        many rows of simulator state, stepped at once
geometry goals                 where things are in each lane; when a task is done
lanes                          one control step of many lanes, and what is observed
cameras                        images of a lane
env                            KitchenEnv and KitchenVectorEnv
experts demos                  scripted experts; their successes as demonstrations
"""
