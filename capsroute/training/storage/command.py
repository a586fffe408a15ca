"""The command line of a configuration."""

from __future__ import annotations

from capsroute.training.config import TrainConfig

__all__ = ["train_command"]


def train_command(config: TrainConfig) -> list[str]:
    """Arguments of ``capsroute`` that train with a configuration, every option named: defaults may change.

    Returns:
        ``["train", "--dataset", "digits", …]``.
    """
    arguments = ["train"]
    for name, value in config.as_dict().items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            arguments.append(f"--{option}" if value else f"--no-{option}")
        elif value is not None:
            arguments += [f"--{option}", str(value)]
    return arguments
