"""YAML files and overrides, and the objects they name."""

from framework.config.configuration import Configuration, read_configuration

__all__ = ["Configuration", "read_configuration"]
