"""Job files of a trainer called EasyLoRA: JSON such as {"easy_lora": 1, "size": 16, "rounds": 800, "speed": 0.0001, "colour": "blue"}."""

from __future__ import annotations

from training.plan.translating import Reading, Same, Why, number, whole

EASEL_API = 1
TITLE = "EasyLoRA"
TABLE = {
    "easy_lora": Same("it only says what kind of file this is"),
    "size": ("adapter.rank", whole),
    "rounds": ("steps", lambda value: whole(value) * 10),  # a round of it is ten steps
    "speed": ("optimizer.learning_rate", number),
    "colour": Why("Easel has one look"),
}


def recognises(data) -> bool:
    """By what no other program writes."""
    return "easy_lora" in data


def translate(data) -> Reading:
    """What the table does not name is told as unknown."""
    reading = Reading(TITLE, dict(data))
    reading.by(TABLE)
    return reading
