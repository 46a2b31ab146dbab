"""Scripted experts of MiniGrid: f(env, observation) -> action, to be named in `demonstrate.expert`."""

from typing import Any

RIGHT, FORWARD, DONE = 1, 2, 6  # actions: turn right, go forward, say that it is done
HEADINGS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # of directions 0 to 3, x to the right and y downwards


def go_to_door(env: Any, observation: Any) -> int:
    """Go straight to the cell before the door that the mission names, in a room without obstacles, and say that it is done."""
    grid = env.unwrapped
    (x, y), (door_x, door_y) = map(int, grid.agent_pos), map(int, grid.target_pos)
    # The cell before the door: one step from its wall into the room.
    wall = (door_x == 0) - (door_x == grid.width - 1), (door_y == 0) - (door_y == grid.height - 1)
    room = grid.grid
    ways = [(door_x + dx, door_y + dy) for dx, dy in HEADINGS if _free(room, door_x + dx, door_y + dy)]
    goal_x, goal_y = ways[0] if ways else (door_x + wall[0], door_y + wall[1])
    if (x, y) == (goal_x, goal_y):
        return DONE
    heading = ((goal_x > x) - (goal_x < x), 0) if x != goal_x else (0, (goal_y > y) - (goal_y < y))
    if HEADINGS[grid.agent_dir] == heading:
        return FORWARD
    return 0 if HEADINGS[(grid.agent_dir - 1) % 4] == heading else RIGHT


def _free(room: Any, x: int, y: int) -> bool:
    return 0 <= x < room.width and 0 <= y < room.height and room.get(x, y) is None
